import * as z from 'zod';
import { askLong } from '../../catalog/object-table.ts';
import { fieldColumns } from '../../catalog/table-ddl.ts';
import { StoreError } from '../../core/errors.ts';
import { quoteName, quoteString } from '../../core/identifiers.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationNode } from '../deps.ts';
import { insertLines } from './read-object.ts';
import { type Planned, stagingName } from './staging.ts';

/** Lines of an object in the staging table: they have the time 0 and an attempt of their own. */
export type Lines = { attempt: number; lines: number };

/** A part of an object: whole lines, of which the first is line `place`, from 0. */
export type TextPage = { text: string; place: number; isLast: boolean };

/** Bytes that are parsed at once. Parsing needs several times as much memory. */
const pageBytes = 4 * 1024 * 1024;

const loadLinesRow = z.object({ lines: z.string(), last: z.string() });

/**
 * Copies the lines of an object unchanged into the staging table. From there they are read in parts, whatever compression the
 * object has. Throws TimestoreError, StoreError, ClickHouseError.
 */
export async function loadLines(
  node: OperationNode,
  staging: string,
  object: { number: number; key: string; format: 'ndjson' | 'csv'; etag: string },
  attempt: number,
): Promise<Lines> {
  const name = stagingName(staging);
  await insertLines(node, object, name, attempt);
  const [found] = checkRows(
    loadLinesRow,
    await node.clickhouse.rows(
      `SELECT count() AS lines, max(_place) + 1 AS last FROM ${name} WHERE _attempt = {attempt:UInt64}`,
      { attempt },
    ),
  );
  const lines = Number(found?.lines);
  if (lines > 0 && Number(found?.last) !== lines) {
    throw new Error(`object ${object.key}: ${lines} lines are stored, the last ${found?.last}`);
  }
  return { attempt, lines };
}

/**
 * The lines from `from` on, in parts. A part is read when the previous one is processed.
 *
 * @throws StoreError for missing lines; TypeError for invalid UTF-8
 */
export async function* pagesOf(
  node: OperationNode,
  { schema }: Planned,
  staging: string,
  object: number,
  { attempt, lines }: Lines,
  from: number,
): AsyncGenerator<TextPage> {
  const time = quoteName(schema.timestampColumn);
  const closing = new AbortController();
  const { body } = await node.clickhouse.open({
    body: `SELECT _text FROM ${stagingName(staging)}
      WHERE ${time} = toDateTime64(0, 3, 'UTC') AND _object = {_object:UInt32} AND _place >= {_from:UInt64} AND _attempt = {_attempt:UInt64}
      ORDER BY ${time}, _object, _place FORMAT TSVRaw`,
    settings: {
      param__object: object,
      param__from: from,
      param__attempt: attempt,
      // One thread reads the table in order, as far as the parts are consumed.
      max_threads: 1,
      http_send_timeout: 600,
      http_response_buffer_size: 0,
      max_execution_time: Math.ceil(node.config.limits.export_timeout_ms / 1000),
    },
    timeout_ms: node.config.limits.export_timeout_ms,
    signal: closing.signal,
  });
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let held: Uint8Array[] = [];
  let bytes = 0;
  let place = from;
  const take = (end: number): TextPage => {
    const whole = Buffer.concat(held);
    const text = decoder.decode(whole.subarray(0, end));
    held = end < whole.length ? [whole.subarray(end)] : [];
    bytes = whole.length - end;
    const page = { text, place, isLast: false };
    place += lineFeedsIn(text);
    page.isLast = place >= lines;
    return page;
  };
  try {
    for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
      held.push(chunk);
      bytes += chunk.length;
      const end = bytes < pageBytes ? -1 : chunk.lastIndexOf(lineFeed);
      if (end >= 0) yield take(bytes - chunk.length + end + 1);
    }
  } finally {
    closing.abort();
  }
  if (bytes > 0) yield take(bytes);
  if (place !== lines)
    throw new StoreError('clickhouse', `returned ${place} of ${lines} lines of an object`, undefined);
}

const lineFeed = 0x0a;

export function lineFeedsIn(text: string): number {
  let count = 0;
  for (let index = text.indexOf('\n'); index >= 0; index = text.indexOf('\n', index + 1)) count += 1;
  return count;
}

/** Rows as stored JSON without the opening brace, and the place of the first one in its object. */
export type PlacedLines = { lines: string[]; place: number };

/** Inserts rows into the staging table, as a flush does. Throws StoreError, ClickHouseError. */
export async function insertRows(
  node: OperationNode,
  table: Planned,
  staging: string,
  { attempt, object }: { attempt: number; object: number },
  { lines, place }: PlacedLines,
): Promise<void> {
  if (lines.length === 0) return;
  const names = table.schema.fields.map(({ name }) => quoteName(name)).join(', ');
  const structure = ['_place UInt64', ...fieldColumns(table)].join(', ');
  const rows = lines.map((line, i) => `{"_place":${place + i},${line}`).join('\n');
  await askLong(
    node,
    `INSERT INTO ${stagingName(staging)} (_attempt, _object, _place, ${names})
     SELECT {_attempt:UInt64}, {_object:UInt32}, _place, ${names} FROM input(${quoteString(structure)}) FORMAT JSONEachRow\n${rows}\n`,
    {
      param__attempt: attempt,
      param__object: object,
      async_insert: 0,
      insert_deduplicate: 0,
      input_format_parallel_parsing: 0,
      max_insert_threads: 1,
      max_query_size: 4_194_304,
      input_format_skip_unknown_fields: 0,
      precise_float_parsing: 1,
    },
  );
}
