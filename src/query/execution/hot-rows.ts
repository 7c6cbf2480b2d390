import { identifiedRows } from '../../buffer/batch-rows.ts';
import { invalidRequest } from '../../core/invalid-request.ts';
import { JsonReader } from '../../schema/json-reader.ts';
import type { Table } from '../../schema/table.ts';
import { storedTimestamp, type Time } from '../../schema/timestamp.ts';
import { clickhouseType, type Field, type FieldType, vectorLength } from '../../schema/types.ts';
import { hotFilter } from '../hot/filter.ts';
import { hotJson, hotText, hotValue, parseHotText } from '../hot/values.ts';
import { compareValues, type HotValue } from '../request/compare-values.ts';
import type { Format } from '../request/format.ts';
import type { QueryBody, QueryPlan } from '../request/parse.ts';
import { type Answer, describeAnswer } from './answer.ts';
import { nextCursor } from './next-cursor.ts';
import type { ReadScope } from './read-scope.ts';
import type { ReadSnapshot } from './read-snapshot.ts';

/** A query that is ready for execution. */
export type PlannedQuery = { reader: ReadScope; snapshot: ReadSnapshot; plan: QueryPlan; body: QueryBody };

type SortKey = { field: Field; isDescending: boolean };

/** Formats that Timestore writes itself; the others need ClickHouse. */
const hotFormats = new Set<Format>(['json', 'ndjson', 'compact']);

/** Rows are held in memory as parsed values; more cells would not fit beside other requests of the instance. */
const cells_max = 2_000_000;

type HotRow = { values: Map<string, HotValue>; partition: Record<string, string>; keys: HotValue[] };

/**
 * Answers a raw query from the hot buffer alone while ClickHouse is unavailable.
 *
 * @returns undefined unless the time range begins after all flushed rows: other ranges may have rows in ClickHouse
 */
export function hotRows({ reader, snapshot, plan, body }: PlannedQuery, format: Format): Answer | undefined {
  const { table, lanes } = snapshot;
  const { start } = plan.range;
  if (snapshot.bufferState !== 'ready' || lanes === undefined || start === undefined) return undefined;
  if (body.downsample !== undefined || plan.limit === undefined || !hotFormats.has(format)) return undefined;
  if (lanes.some(({ flushedTo_ms }) => flushedTo_ms === undefined || flushedTo_ms >= start.time_ms)) return undefined;
  const cells = table.schema.fields.reduce((sum, { type }) => sum + countCells(type), 0);
  if (snapshot.tail.rows * cells > cells_max) return undefined;
  const tail_bytes = snapshot.tail.batches.reduce((sum, { batch }) => sum + batch.payload.length, 0);
  const matches = hotFilter(plan, table, tail_bytes);
  if (matches === undefined) return undefined;

  const keys = sortKeys(plan, table);
  const after = readCursorKey(plan, keys);
  const seen = new Map(plan.after.map(([lane, , seq]) => [lane, seq]));
  const rows = readHotRows(snapshot, keys)
    .filter(
      (row) =>
        isInRange(row, plan, table) &&
        isNew(row, seen) &&
        matches(row.values, row.partition) &&
        isAfter(row.keys, after, keys),
    )
    .sort((a, b) => compareKeys(a.keys, b.keys, keys));
  const page = rows.slice(0, plan.limit);
  const last = rows.length > page.length ? page.at(-1) : undefined;
  const notes = describeAnswer([snapshot], reader, 'fenced', 'hot-buffer-only');
  notes.warnings.push(
    'ClickHouse is unavailable. The answer comes from the hot buffer, which holds all rows of this time range.',
  );
  const endKey = last?.keys.map((value, i) => hotText(keys[i]?.field.type ?? 'integer', value));
  const cursor = nextCursor(snapshot, plan, endKey, notes.warnings);
  return formatAnswer(page, { table, plan, format, notes, cursor });
}

function formatAnswer(
  rows: HotRow[],
  {
    table,
    plan,
    format,
    notes,
    cursor,
  }: Pick<Answer, 'format' | 'notes' | 'cursor'> & { table: Table; plan: QueryPlan },
): Answer {
  const columns = plan.fields.map(({ name }) => name);
  const types = plan.fields.map((field) => clickhouseType(field, table.schema));
  const isCompact = format === 'compact';
  const texts = rows.map(({ values }) => {
    const members = plan.fields.map(({ name, type }) => {
      return `${isCompact ? '' : `${JSON.stringify(name)}:`}${hotJson(type, values.get(name) ?? null)}`;
    });
    return isCompact ? `[${members.join(',')}]` : `{${members.join(',')}}`;
  });
  if (format !== 'json') {
    const lines = [...(isCompact ? [JSON.stringify(columns), JSON.stringify(types)] : []), ...texts];
    return { format, notes, cursor, body: once(lines.map((line) => `${line}\n`).join('')), isComplete: true };
  }
  const head = { columns, types, mode: 'raw' };
  const { rows: tailRows } = notes.streaming;
  const rest = {
    warnings: notes.warnings,
    cursor: cursor ?? null,
    streaming: notes.streaming,
    sources: { published: { rows: 0, partitions: 0 }, hotBuffer: { rows: rows.length } },
    statistics: { rows: rows.length, elapsedMs: 0, rowsRead: tailRows, tailRows },
    latest_ingest_watermark: notes.watermark ?? null,
  };
  const text = `${JSON.stringify(head).slice(0, -1)},"rows":[${texts.join(',')}],${JSON.stringify(rest).slice(1)}`;
  return { format, notes, body: once(text), isComplete: true };
}

async function* once(text: string): AsyncGenerator<string> {
  yield await Promise.resolve(text);
}

function readHotRows({ tail, table }: ReadSnapshot, keys: SortKey[]): HotRow[] {
  const rows: HotRow[] = [];
  const lines = tail.batches.flatMap(({ lane, batch }) => identifiedRows(batch, table.schema, lane).split('\n'));
  for (const line of lines) {
    if (line === '') continue;
    const members = new Map(new JsonReader(line).members().map((member) => [member.name, member]));
    const values = new Map(
      [...table.schema.fields, ...identity].map(({ name, type }) => [name, hotValue(type, members.get(name))]),
    );
    const partition = members.get('_partition')?.text;
    rows.push({
      values,
      partition: partition === undefined ? {} : JSON.parse(partition),
      keys: keys.map(({ field }) => values.get(field.name) ?? null),
    });
  }
  return rows;
}

const identity: Field[] = [
  { name: '_lane', type: 'integer' },
  { name: '_seq', type: 'integer' },
  { name: '_row', type: 'integer' },
];

/** The order of `rowsStatement`: the columns of `orderBy`, the time, the identity of the row. */
function sortKeys({ orderBy }: QueryPlan, { schema }: Table): SortKey[] {
  const ordered = orderBy.flatMap(({ column, direction }) => {
    const field = schema.fields.find(({ name }) => name === column);
    return field === undefined ? [] : [{ field, isDescending: direction === 'desc' }];
  });
  const time: Field = { name: schema.timestampColumn, type: 'timestamp' };
  const rest = [time, ...identity].filter(({ name }) => !ordered.some(({ field }) => field.name === name));
  return [...ordered, ...rest.map((field) => ({ field, isDescending: false }))];
}

function isInRange({ values }: HotRow, { range: { start, end } }: QueryPlan, { schema }: Table): boolean {
  const time = String(values.get(schema.timestampColumn));
  const stored = ({ time_ms, finer }: Time) => storedTimestamp(time_ms, finer);
  return (start === undefined || time >= stored(start)) && (end === undefined || time < stored(end));
}

function isNew({ values }: HotRow, seen: Map<number, number>): boolean {
  return Number(values.get('_seq')) > (seen.get(Number(values.get('_lane'))) ?? 0);
}

/** The sort key of the cursor. Throws ApiError `invalid-request` for a forged cursor. */
function readCursorKey({ cursor }: QueryPlan, order: SortKey[]): HotValue[] | undefined {
  if (cursor === undefined) return undefined;
  try {
    return order.map(({ field }, i) => parseHotText(field, cursor.key[i] ?? null));
  } catch {
    throw invalidRequest('cursor: the cursor does not belong to this query');
  }
}

function isAfter(keys: HotValue[], after: HotValue[] | undefined, order: SortKey[]): boolean {
  return after === undefined || compareKeys(keys, after, order) > 0;
}

/** Null comes last in either direction, and NaN just before it. */
function compareKeys(a: HotValue[], b: HotValue[], order: SortKey[]): number {
  for (const [i, { isDescending }] of order.entries()) {
    const [left = null, right = null] = [a[i], b[i]];
    if (left === null && right === null) continue;
    if (left === null || right === null) return left === null ? 1 : -1;
    const [leftIsNaN, rightIsNaN] = [Number.isNaN(left), Number.isNaN(right)];
    if (leftIsNaN && rightIsNaN) continue;
    if (leftIsNaN || rightIsNaN) return leftIsNaN ? 1 : -1;
    const sign = compareValues(left, right);
    if (sign !== 0) return isDescending ? -sign : sign;
  }
  return 0;
}

/** Each number of a vector costs several cells: its shortest digits are searched. */
function countCells(type: FieldType): number {
  return type.startsWith('vector(') ? 4 * vectorLength(type as `vector(${number})`) : 1;
}
