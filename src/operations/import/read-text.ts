import { randomInt } from 'node:crypto';
import * as z from 'zod';
import { PageError, type PageState, preparePage } from '../../schema/prepare-page.ts';
import type { RefusedRow } from '../../schema/prepared-rows.ts';
import type { Rename } from '../../schema/rename.ts';
import { type Field, type FieldType, requiredFields } from '../../schema/types.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationNode } from '../deps.ts';
import { unreadable } from './read-object.ts';
import type { Reading, TextObject } from './reading.ts';
import { dropStaging, ensureStaging, type Planned, stagingName } from './staging.ts';
import { insertRows, lineFeedsIn, loadLines, pagesOf, type TextPage } from './text-lines.ts';
import type { WrongRow } from './wrong-rows.ts';

/** The maximum size of a row. Requests have a smaller limit. */
const rowBytes_max = 8 * 1024 * 1024;
const errors_max = 100;
const valueChars_max = 100;

/** A text object, and options for reading it. */
export type TextSource = {
  number: number;
  key: string;
  format: 'ndjson' | 'csv';
  /** Columns to read, or all. The object must have them. */
  columns: string[] | undefined;
  /** The fields that are read. Undefined: all columns are read, and new ones become fields. */
  known: ReadonlySet<string> | undefined;
  /** The planned table with more fields. */
  planned(fields: Field[]): Planned;
  rename: Rename | undefined;
  deadline_ms: number;
};

/** Starts to read an object: copies its lines to the staging table, from which they can be read in parts. */
export async function beginText(
  node: OperationNode,
  reading: Reading,
  source: TextSource,
  etag: string,
): Promise<Reading> {
  const { staging = '' } = reading;
  const { number, key, format } = source;
  await ensureStaging(node, source.planned(reading.fields), staging);
  const lines = await loadLines(node, staging, { number, key, format, etag }, randomInt(2 ** 47));
  if (lines.lines === 0) {
    throw unreadable(key, format === 'csv' ? 'cannot be read as csv: it is empty' : 'has no rows');
  }
  return { ...reading, text: { ...lines, place: 0, line: 1, row: 0, seen: [] } };
}

/**
 * Continues to read an object with the reader for rows of requests, until its end or the deadline.
 *
 * @returns the progress; the initial one with type hints, if later values need other types and all objects are read again
 * @throws TimestoreError `invalid-request` with the line for invalid text; StoreError, ClickHouseError
 */
export async function continueText(
  node: OperationNode,
  reading: Reading,
  text: TextObject,
  source: TextSource,
): Promise<Reading> {
  const { staging = '' } = reading;
  const { number, key } = source;
  const attempt = randomInt(2 ** 47);
  let now = { ...reading };
  let object: TextObject = { ...text };
  let accepted = 0;
  let wrong = 0;
  let rest = '';
  let isOver = false;
  for await (const page of nameLineOfError(
    pagesOf(node, source.planned(now.fields), staging, number, text, text.place),
    key,
    object,
  )) {
    const whole = rest + page.text;
    const read = readPage(whole, page.isLast, now, object, source, node);
    if ('rehint' in read) {
      await dropStaging(node, staging);
      return restartWith(reading, read.rehint);
    }
    if (object.names === undefined && read.names !== undefined) requireNames(read.names, source);
    const fields = [...now.fields, ...read.added];
    now.fields = fields.map(({ name, type }) => ({ name, type, ...(read.open.get(name) ?? settled) }));
    if (read.added.length > 0) {
      await ensureStaging(node, source.planned(now.fields), staging);
    }
    await insertRows(
      node,
      source.planned(now.fields),
      staging,
      { attempt, object: number },
      { lines: read.lines, place: object.row },
    );
    const errors = read.refused.map((refused) => wrongRow(refused, key, object.row));
    now = { ...now, errors: [...now.errors, ...errors].slice(0, errors_max) };
    accepted += read.lines.length;
    wrong += read.errorsTotal;
    rest = read.rest;
    if (rest.length > rowBytes_max) {
      throw unreadable(
        key,
        `has a row of more than ${rowBytes_max / 1024 ** 2} MiB from line ${lineAfter(object, whole, rest)} on`,
      );
    }
    object = advanceObject(object, page, whole, rest, read.lines.length + read.errorsTotal);
    object.names ??= read.names;
    object.seen = [...new Set([...object.seen, ...(read.names ?? []), ...read.seen])];
    isOver = page.isLast;
    if (isOver || node.now() >= source.deadline_ms) break;
  }
  await requireRows(node, staging, attempt, accepted, key);
  now.staged = [...now.staged, { attempt, rows: accepted + wrong, wrong, stored: accepted }];
  if (!isOver) return { ...now, text: object };
  return finishObject(now, object, source);
}

const settled = { hasFraction: false, isEmpty: false };

function readPage(
  text: string,
  isLast: boolean,
  reading: Reading,
  object: TextObject,
  source: TextSource,
  node: OperationNode,
) {
  const { fields, hints } = reading;
  const { columns, known, key, format, rename } = source;
  const only = known === undefined ? columns : [...known].filter((name) => columns?.includes(name) ?? true);
  const state: PageState = {
    schema: source.planned(fields).schema,
    hints: new Map(Object.entries(hints)),
    names: object.names,
    checks: {
      keepRefused: errors_max,
      firstLine: object.line,
      rename,
      open: new Map(fields.map((field) => [field.name, field])),
      only: only && new Set(only),
    },
  };
  try {
    return preparePage(text, format, isLast, state, { ...node.config.limits, row_bytes_max: rowBytes_max });
  } catch (error) {
    if (!(error instanceof PageError)) throw error;
    const row = object.row + error.row + 1;
    const place = error.row < 0 ? '' : ` at row ${row}`;
    throw unreadable(key, `cannot be read as ${format}${place} (line ${error.line}): ${error.message}`);
  }
}

/** Reports invalid UTF-8 with the line after which it occurs. */
async function* nameLineOfError(
  pages: AsyncGenerator<TextPage>,
  key: string,
  { line }: TextObject,
): AsyncGenerator<TextPage> {
  try {
    yield* pages;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw unreadable(key, `has bytes after line ${line} that are not UTF-8`);
  }
}

const lineAfter = ({ line }: TextObject, whole: string, rest: string) =>
  line + lineFeedsIn(whole.slice(0, whole.length - rest.length));

function advanceObject(object: TextObject, page: TextPage, whole: string, rest: string, rows: number): TextObject {
  return {
    ...object,
    row: object.row + rows,
    line: lineAfter(object, whole, rest),
    place: page.place + lineFeedsIn(page.text) - lineFeedsIn(rest),
  };
}

/** Checks the names in the first line of CSV. */
function requireNames(names: string[], { key, columns, known, planned }: TextSource): void {
  const chosen = names.filter((name) => columns?.includes(name) ?? true);
  const absent = columns?.find((name) => !names.includes(name));
  if (absent !== undefined) throw unreadable(key, `has no column ${absent}`);
  const { name: table, schema } = planned([]);
  const missing = requiredFields(schema).find((name) => !chosen.includes(name));
  if (missing !== undefined) throw unreadable(key, `has no column ${missing}, which every row of table ${table} needs`);
  if (known !== undefined) return;
  const twice = chosen.find((name, i) => chosen.indexOf(name) < i);
  if (twice !== undefined) throw unreadable(key, `has two columns with the name ${twice}`);
  if (chosen.includes('')) {
    const place = names.indexOf('') + 1;
    throw unreadable(key, `has a column without a name, number ${place} of its first line; name it, or choose columns`);
  }
}

/** Checks and records the columns of an object that was read completely. */
function finishObject(reading: Reading, { seen, row }: TextObject, { key, columns, rename }: TextSource): Reading {
  if (row === 0 && seen.length === 0) throw unreadable(key, 'has no rows');
  const [unknown] = [...(rename ?? [])].find(([, to]) => !seen.includes(to)) ?? [];
  if (unknown !== undefined) throw unreadable(key, `has no column ${unknown}, which is to be renamed`);
  const absent = columns?.find((name) => !seen.includes(name));
  if (absent !== undefined) throw unreadable(key, `has no column ${absent}`);
  const found = seen.filter((name) => columns?.includes(name) ?? true);
  return { ...reading, read: [...reading.read, found], text: undefined };
}

/** The initial progress with type hints: all objects are read again. */
function restartWith({ hints }: Reading, found: Map<string, FieldType>): Reading {
  return {
    staging: undefined,
    fields: [],
    read: [],
    staged: [],
    errors: [],
    text: undefined,
    hints: { ...hints, ...Object.fromEntries(found) },
  };
}

const requireRowsRow = z.object({ rows: z.string() });

async function requireRows(
  node: OperationNode,
  staging: string,
  attempt: number,
  rows: number,
  key: string,
): Promise<void> {
  const [found] = checkRows(
    requireRowsRow,
    await node.clickhouse.rows(
      `SELECT count() AS rows FROM ${stagingName(staging)} WHERE _attempt = {attempt:UInt64}`,
      { attempt },
    ),
  );
  if (Number(found?.rows) !== rows) throw new Error(`object ${key}: ${found?.rows} of ${rows} rows are stored`);
}

function wrongRow(
  { index, line, field, reason, detail, value, source }: RefusedRow,
  key: string,
  before: number,
): WrongRow {
  const text = value ?? (reason === 'missing' ? 'null' : source);
  return {
    object: key,
    row: before + index,
    line,
    field: field ?? '',
    reason,
    detail,
    value: text.toWellFormed().slice(0, valueChars_max).toWellFormed(),
  };
}
