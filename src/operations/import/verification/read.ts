import { randomInt } from 'node:crypto';
import * as z from 'zod';
import { type Rename, renamed } from '../../../schema/rename.ts';
import { type Field, requiredFields, type TableSchema } from '../../../schema/types.ts';
import type { OperationNode } from '../../deps.ts';
import { type ImportFormat, unreadable } from '../read-object.ts';
import { stagedRows, textObject, wrongRow } from '../reading.ts';
import type { Planned } from '../staging.ts';
import { loadLines, pagesOf } from '../text-lines.ts';
import type { WrongRow } from '../wrong-rows.ts';
import { insertChecked, RowMaker } from './insert.ts';
import { openParquet, readSlices } from './parquet-rows.ts';
import { type SourceRow, TextReader } from './text-rows.ts';

/** Progress of the second reading of objects. */
export const secondSchema = z.object({
  /** The columns of each object that was read. */
  read: z.array(z.array(z.string())).default([]),
  staged: z.array(stagedRows).default([]),
  errors: z.array(wrongRow).default([]),
  text: textObject.optional(),
  parquet: z.object({ etag: z.string(), row: z.number() }).optional(),
});

export type Second = z.output<typeof secondSchema>;

/** An object, its table, and the staging table for its rows. */
export type SecondSource = {
  number: number;
  key: string;
  format: ImportFormat;
  columns: string[] | undefined;
  rename: Rename | undefined;
  table: Planned;
  staging: string;
  deadline_ms: number;
};

const errors_max = 100;
const rowBytes_max = 8 * 1024 * 1024;

/**
 * Continues to read an object with readers that imports and requests do not use: JSON.parse and a regular expression for CSV
 * cells, and hyparquet. The rows go into the staging table, under attempts of their own.
 *
 * @throws TimestoreError `invalid-request`, `conflict`, `limit-exceeded`; StoreError, ClickHouseError
 */
export async function continueVerification(node: OperationNode, second: Second, source: SecondSource): Promise<Second> {
  return source.format === 'parquet' ? await readParquet(node, second, source) : await readText(node, second, source);
}

async function findObject(node: OperationNode, key: string): Promise<{ etag: string; bytes: number }> {
  const found = await node.objects.find(key);
  if (found === undefined) throw unreadable(key, 'is not in the bucket');
  return found;
}

async function readText(node: OperationNode, second: Second, source: SecondSource): Promise<Second> {
  const { number, key, staging, table } = source;
  const format = source.format === 'csv' ? 'csv' : 'ndjson';
  if (second.text === undefined) {
    const { etag } = await findObject(node, key);
    const lines = await loadLines(node, staging, { number, key, format, etag }, randomInt(2 ** 47));
    if (lines.lines === 0) throw unreadable(key, 'is empty');
    return { ...second, text: { ...lines, place: 0, line: 1, row: 0, seen: [] } };
  }
  const sink = new Sink(node, second, source);
  let object = second.text;
  let rest = '';
  let isOver = false;
  for await (const page of pagesOf(node, table, staging, number, object, object.place)) {
    const reader = new TextReader(format, object, rest + page.text, page.isLast, source.rename);
    const rows = reader.rows((message, row, line) =>
      unreadable(key, `cannot be read as ${format} at row ${row} (line ${line}): ${message}`),
    );
    await sink.put(rows, object.row);
    rest = reader.rest;
    if (rest.length > rowBytes_max) {
      throw unreadable(key, `has a row of more than ${rowBytes_max / 1024 ** 2} MiB from line ${reader.line} on`);
    }
    object = { ...object, ...reader.after(page), seen: [...new Set([...object.seen, ...reader.seen])] };
    isOver = page.isLast;
    if (isOver || node.now() >= source.deadline_ms) break;
  }
  const next = sink.second();
  if (!isOver) return { ...next, text: object };
  return finishObject({ ...next, text: undefined }, object.seen, source);
}

async function readParquet(node: OperationNode, second: Second, source: SecondSource): Promise<Second> {
  const { key, columns: chosen, table } = source;
  const { etag, bytes } = await findObject(node, key);
  const started = second.parquet ?? { etag, row: 0 };
  const object = await openParquet(node, key, started.etag, bytes);
  const inFile = [...object.columns.keys()];
  const names = inFile.map((name) => renamed(source.rename, name));
  const known = new Set(table.schema.fields.map(({ name }) => name));
  const isRead = (name: string) => known.has(name) && isNeeded(table.schema, chosen, name);
  const read = inFile.filter((name) => isRead(renamed(source.rename, name)));
  const sink = new Sink(node, second, source);
  const total = object.metadata.row_groups.reduce((sum, { num_rows }) => sum + Number(num_rows), 0);
  let row = started.row;
  for await (const slice of readSlices(object, read, row)) {
    const rows = Array.from({ length: slice.rows }, (_, i): SourceRow => {
      return {
        members: read.map((name) => {
          const column = object.columns.get(name);
          const raw = column?.toJson(slice.values.get(name)?.[i]) ?? 'null';
          return { name: renamed(source.rename, name), raw, kind: column?.kind };
        }),
      };
    });
    await sink.put(rows, slice.place);
    row = slice.place + slice.rows;
    if (row >= total || node.now() >= source.deadline_ms) break;
  }
  const next = sink.second();
  if (row < total) return { ...next, parquet: { etag: started.etag, row } };
  return finishObject({ ...next, parquet: undefined }, names, source);
}

function finishObject(second: Second, names: string[], { key, columns, table, rename }: SecondSource): Second {
  const [unknown] = [...(rename ?? [])].find(([, to]) => !names.includes(to)) ?? [];
  if (unknown !== undefined) throw unreadable(key, `has no column ${unknown}, which is to be renamed`);
  const missing = requiredFields(table.schema).find((name) => !names.includes(name));
  if (missing !== undefined) {
    throw unreadable(key, `has no column ${missing}, which every row of table ${table.name} needs`);
  }
  const absent = columns?.find((name) => !names.includes(name));
  if (absent !== undefined) throw unreadable(key, `has no column ${absent}`);
  const found = names.filter((name) => columns?.includes(name) ?? true);
  return { ...second, read: [...second.read, found] };
}

/** Stores valid rows and collects invalid ones. */
class Sink {
  readonly node: OperationNode;
  readonly #before: Second;
  readonly #source: SecondSource;
  readonly #attempt = randomInt(2 ** 47);
  readonly #maker: RowMaker;
  readonly #errors: WrongRow[];
  #stored = 0;
  #wrong = 0;

  constructor(node: OperationNode, before: Second, source: SecondSource) {
    const { columns, table, format } = source;
    this.node = node;
    this.#before = before;
    this.#source = source;
    this.#errors = [...before.errors];
    const fields: Field[] = table.schema.fields.filter(({ name }) => isNeeded(table.schema, columns, name));
    this.#maker = new RowMaker(table.schema, fields, {
      jsonInStrings: format === 'ndjson',
      isTyped: format === 'parquet',
    });
  }

  async put(rows: Iterable<SourceRow>, place: number): Promise<void> {
    const { key, number, staging } = this.#source;
    const lines: string[] = [];
    let row = place;
    for (const source of rows) {
      const made = this.#maker.row(source, row);
      if (typeof made === 'string') lines.push(made);
      else {
        this.#wrong += 1;
        const { reason, detail, field, value } = made;
        const error = { object: key, row, field, reason, detail, value };
        if (this.#errors.length < errors_max)
          this.#errors.push({ ...error, ...(source.line && { line: source.line }) });
      }
      row += 1;
    }
    this.#stored += lines.length;
    await insertChecked(this.node, staging, this.#maker, { attempt: this.#attempt, object: number }, lines);
  }

  second(): Second {
    const staged = {
      attempt: this.#attempt,
      rows: this.#stored + this.#wrong,
      wrong: this.#wrong,
      stored: this.#stored,
    };
    return { ...this.#before, staged: [...this.#before.staged, staged], errors: this.#errors };
  }
}

/** Whether a column is compared or required. */
function isNeeded(schema: TableSchema, columns: string[] | undefined, name: string): boolean {
  return columns === undefined || columns.includes(name) || requiredFields(schema).includes(name);
}
