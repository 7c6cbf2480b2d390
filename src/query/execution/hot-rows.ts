import { identifiedRows } from '../../buffer/batch-rows.ts';
import { invalidRequest } from '../../core/invalid-request.ts';
import { JsonReader } from '../../schema/json-reader.ts';
import type { Table } from '../../schema/table.ts';
import { storedTimestamp, type Time } from '../../schema/timestamp.ts';
import { clickhouseType, type Field, type FieldType, vectorLength } from '../../schema/types.ts';
import { hotFilter } from '../hot/filter.ts';
import { hotJson, hotText, hotValue, hotValueOf } from '../hot/values.ts';
import { compareValues, type HotValue } from '../request/compare-values.ts';
import type { Format } from '../request/format.ts';
import type { QueryBody, QueryPlan } from '../request/parse.ts';
import { type Answer, notesOf } from './answer.ts';
import { cursorOf } from './next-cursor.ts';
import type { ReadScope } from './read-scope.ts';
import type { ReadSnapshot } from './read-snapshot.ts';

type Key = { field: Field; isDescending: boolean };

/** What this side writes. */
const written = new Set<Format>(['json', 'ndjson', 'compact']);

/** Rows are held with a place for each field: more than this would not fit beside what else an instance does. */
const cells_max = 2_000_000;

type HotRow = { values: Map<string, HotValue>; partition: Record<string, string>; keys: HotValue[] };

/**
 * Raw rows of a query from the hot buffer alone, while ClickHouse is away.
 *
 * @returns undefined unless it is certain that ClickHouse has no row in the range: one that it may have would be missing
 */
export function hotRows(
  reader: ReadScope,
  cut: ReadSnapshot,
  plan: QueryPlan,
  body: QueryBody,
  format: Format,
): Answer | undefined {
  const { table, lanes } = cut;
  const { start } = plan.range;
  if (cut.bufferState !== 'ready' || lanes === undefined || start === undefined) return undefined;
  if (body.downsample !== undefined || plan.limit === undefined || !written.has(format)) {
    return undefined;
  }
  if (lanes.some(({ flushedTo_ms }) => flushedTo_ms === undefined || flushedTo_ms >= start.time_ms)) return undefined;
  const cells = table.schema.fields.reduce((sum, { type }) => sum + cellsOf(type), 0);
  if (cut.tail.rows * cells > cells_max) return undefined;
  const tail_bytes = cut.tail.batches.reduce((sum, { batch }) => sum + batch.payload.length, 0);
  const holds = hotFilter(plan, table, tail_bytes);
  if (holds === undefined) return undefined;

  const keys = keysOf(plan, table);
  const after = placeOf(plan, keys);
  const seen = new Map(plan.after.map(([lane, , seq]) => [lane, seq]));
  const rows = rowsOf(cut, keys)
    .filter(
      (row) =>
        isInRange(row, plan, table) &&
        isNew(row, seen) &&
        holds(row.values, row.partition) &&
        isAfter(row.keys, after, keys),
    )
    .sort((a, b) => compareKeys(a.keys, b.keys, keys));
  const shown = rows.slice(0, plan.limit);
  const last = rows.length > shown.length ? shown.at(-1) : undefined;
  const notes = notesOf([cut], reader, 'fenced', 'hot-buffer-only');
  notes.warnings.push('ClickHouse is away. The answer is from the hot buffer, which has all rows of this time range.');
  const key = last?.keys.map((value, i) => hotText(keys[i]?.field.type ?? 'integer', value));
  const cursor = cursorOf(cut, plan, key, notes.warnings);
  const columns = plan.fields.map(({ name }) => name);
  const types = plan.fields.map((field) => clickhouseType(field, table.schema));
  const isCompact = format === 'compact';
  const texts = shown.map(({ values }) => {
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
  const rest = {
    warnings: notes.warnings,
    cursor: cursor ?? null,
    streaming: notes.streaming,
    sources: { published: { rows: 0, partitions: 0 }, hotBuffer: { rows: shown.length } },
    statistics: {
      rows: shown.length,
      elapsedMs: 0,
      rowsRead: notes.streaming.rows,
      tailRows: notes.streaming.rows,
    },
    latest_ingest_watermark: notes.watermark ?? null,
  };
  const text = `${JSON.stringify(head).slice(0, -1)},"rows":[${texts.join(',')}],${JSON.stringify(rest).slice(1)}`;
  return { format, notes, body: once(text), isComplete: true };
}

async function* once(text: string): AsyncGenerator<string> {
  yield await Promise.resolve(text);
}

function rowsOf({ tail, table }: ReadSnapshot, keys: Key[]): HotRow[] {
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

/** As in the SQL of rows: the order asked for, then time, then what tells rows apart. */
function keysOf({ orderBy }: QueryPlan, { schema }: Table): Key[] {
  const asked = orderBy.flatMap(({ column, direction }) => {
    const field = schema.fields.find(({ name }) => name === column);
    return field === undefined ? [] : [{ field, isDescending: direction === 'desc' }];
  });
  const time: Field = { name: schema.timestampColumn, type: 'timestamp' };
  const rest = [time, ...identity].filter(({ name }) => !asked.some(({ field }) => field.name === name));
  return [...asked, ...rest.map((field) => ({ field, isDescending: false }))];
}

function isInRange({ values }: HotRow, { range: { start, end } }: QueryPlan, { schema }: Table): boolean {
  const time = String(values.get(schema.timestampColumn));
  const stored = ({ time_ms, finer }: Time) => storedTimestamp(time_ms, finer);
  return (start === undefined || time >= stored(start)) && (end === undefined || time < stored(end));
}

function isNew({ values }: HotRow, seen: Map<number, number>): boolean {
  return Number(values.get('_seq')) > (seen.get(Number(values.get('_lane'))) ?? 0);
}

/** The place that a cursor is of. Throws TimestoreError `invalid-request` for one that was made up. */
function placeOf({ cursor }: QueryPlan, order: Key[]): HotValue[] | undefined {
  if (cursor === undefined) return undefined;
  try {
    return order.map(({ field }, i) => hotValueOf(field, cursor.key[i] ?? null));
  } catch {
    throw invalidRequest('cursor: it does not fit the query');
  }
}

function isAfter(keys: HotValue[], after: HotValue[] | undefined, order: Key[]): boolean {
  return after === undefined || compareKeys(keys, after, order) > 0;
}

/** Null comes last in either direction, and NaN just before it. */
function compareKeys(a: HotValue[], b: HotValue[], order: Key[]): number {
  for (const [i, { isDescending }] of order.entries()) {
    const [left = null, right = null] = [a[i], b[i]];
    if (left === null && right === null) continue;
    if (left === null || right === null) return left === null ? 1 : -1;
    const [leftIsNone, rightIsNone] = [Number.isNaN(left), Number.isNaN(right)];
    if (leftIsNone && rightIsNone) continue;
    if (leftIsNone || rightIsNone) return leftIsNone ? 1 : -1;
    const compared = compareValues(left, right);
    if (compared !== 0) return isDescending ? -compared : compared;
  }
  return 0;
}

/** Numbers of a vector are read and written one by one, and the digits of each are looked for. */
function cellsOf(type: FieldType): number {
  return type.startsWith('vector(') ? 4 * vectorLength(type as `vector(${number})`) : 1;
}
