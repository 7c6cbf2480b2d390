import { hash } from 'node:crypto';
import { atLane } from '../../catalog/lane-location.ts';
import { qualifiedName, quoteName, quoteString } from '../../core/identifiers.ts';
import type { Table } from '../../schema/table.ts';
import { timeTextSql } from '../../schema/time-text-sql.ts';
import type { TimePrecision } from '../../schema/timestamp.ts';
import { type Field, isRequired, precisionOf } from '../../schema/types.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import type { OperationDeps, OperationNode } from '../deps.ts';

/** A range of sequences of a lane that is sent as a whole, with properties of its rows at the time of recording. */
export type MirrorRange = {
  to: number;
  /** Number of the table's fields when the range was recorded. Later fields are not sent with it. */
  fields: number;
  /** Checksum of its rows: detects later deletions and corrections. */
  checksum: string;
  /** Acknowledgement time of its latest batch. Later batches with these sequences exist after a failover of the buffer. */
  until_ms?: number | undefined;
};

/** Sent batches: up to a sequence, and acknowledged up to a time (ms since 1970). */
export type Sent = { to: number; ms: number };

/** A position in a lane. Rows after it are sent, except those in `sent`: a lane may be read again from an earlier position. */
export type Place = { table: Table; lane: number; after: number; sent: Sent[] };

const receivedSql = 'toUnixTimestamp64Milli(_received_at)';

/** The condition for rows that were not sent. */
export function unsentSql(sent: Sent[]): string {
  return ['1', ...sent.map(({ to, ms }) => `NOT (_seq <= ${Number(to)} AND ${receivedSql} <= ${Number(ms)})`)].join(
    ' AND ',
  );
}

/** Acknowledgement time of the latest batch with these sequences; 0 without batches. */
export async function latestReceived_ms(
  ctx: OperationDeps,
  table: Table,
  lane: number,
  from: number,
  to: number,
): Promise<number> {
  const [found] = await readLines<[number]>(
    await atLane(ctx, table, lane),
    `SELECT max(${receivedSql}) FROM ${qualifiedName(table)}
      WHERE _lane = {_lane:UInt16} AND _seq BETWEEN {_from:UInt64} AND {_to:UInt64}`,
    { param__lane: lane, param__from: from, param__to: to },
  );
  return Math.max(0, found?.[0] ?? 0);
}

/**
 * The rows that a mirror has passed although it never sent them: after a failover of the hot buffer, batches with earlier
 * sequences, acknowledged after all that were sent. Undefined without such rows.
 *
 * @param end the published watermark
 */
export async function overtakenRows(
  ctx: OperationDeps,
  table: Table,
  lane: number,
  { to, ms }: Sent,
  end: number,
): Promise<{ first: number; rows: number; oldest_ms: number } | undefined> {
  const received = "fromUnixTimestamp64Milli({_ms:Int64}, 'UTC')";
  const [found] = await readLines<[first: number, rows: number, oldest_ms: number]>(
    await atLane(ctx, table, lane),
    `SELECT min(_seq), count(), min(${receivedSql}) FROM ${qualifiedName(table)}
      WHERE _lane = {_lane:UInt16} AND _seq <= {_to:UInt64} AND _received_at > ${received}`,
    { param__lane: lane, param__to: Math.min(to, end), param__ms: ms },
  );
  const [first, rows, oldest_ms] = found ?? [0, 0, 0];
  return rows === 0 ? undefined : { first, rows, oldest_ms };
}

const settings: Settings = {
  session_timezone: 'UTC',
  output_format_json_quote_64bit_integers: 0,
  output_format_json_quote_denormals: 0,
  output_format_json_quote_decimals: 1,
  output_format_json_escape_forward_slashes: 0,
  max_query_size: 8 * 1024 * 1024,
};

/** Sequences that are read for the next range. So many batches usually have more rows than a range. */
const window = 2_000;

/**
 * The next sequences to send: at least one, and as many as fit into one request.
 *
 * @param upTo the last published sequence, and the time of the snapshot: batches acknowledged later may have lower sequences
 * @returns `after`: no rows have to be sent up to this sequence; `range`: the sequences that follow
 */
export async function nextRange(
  ctx: OperationDeps,
  { table, lane, after, sent }: Place,
  upTo: { seq: number; ms: number },
): Promise<{ after: number; range: MirrorRange | undefined }> {
  const { mirror_rows_max, mirror_bytes_max } = ctx.config.limits;
  const { fields } = table.schema;
  const end = Math.min(upTo.seq, after + window);
  const row = rowSql(table, fields);
  const from = `${qualifiedName(table)} WHERE _lane = {_lane:UInt16} AND _seq > {_after:UInt64} AND ${receivedSql} <= ${Number(upTo.ms)}
    AND ${unsentSql(sent)}`;
  const found = await readLines<[seq: number, bytes: number, checksum: string, latest_ms: number]>(
    await atLane(ctx, table, lane),
    `SELECT _seq, sum(length(${row})), toString(groupBitXor(${checksumSql(row)})), max(${receivedSql}) FROM ${from} AND _seq <= (
        SELECT maxIf(seq, rows <= {_rows:UInt64} OR number = 1) FROM (
          SELECT seq, sum(n) OVER (ORDER BY seq) AS rows, row_number() OVER (ORDER BY seq) AS number FROM (
            SELECT _seq AS seq, count() AS n FROM ${from} AND _seq <= {_end:UInt64} GROUP BY seq)))
      GROUP BY _seq ORDER BY _seq`,
    { param__lane: lane, param__after: after, param__end: end, param__rows: mirror_rows_max },
  );
  const [first] = found;
  if (first === undefined) return { after: end, range: undefined };
  let [to, sum, checksum, until_ms] = [first[0], 0, 0n, 0];
  for (const [seq, bytes, each, latest_ms] of found) {
    sum += bytes;
    if (sum > mirror_bytes_max && seq !== first[0]) break;
    to = seq;
    checksum ^= BigInt(each);
    until_ms = Math.max(until_ms, latest_ms);
  }
  return { after, range: { to, fields: fields.length, checksum: String(checksum), until_ms } };
}

/** Whether rows of a range were deleted or corrected since it was recorded. */
export async function hasChanged(ctx: OperationDeps, place: Place, range: MirrorRange): Promise<boolean> {
  const { table, lane } = place;
  const row = rowSql(table, table.schema.fields.slice(0, range.fields));
  const [found] = await readLines<[string]>(
    await atLane(ctx, table, lane),
    `SELECT toString(groupBitXor(${checksumSql(row)})) FROM ${rangeSql(place, range)}`,
    rangeParams(place, range),
  );
  return found?.[0] !== range.checksum;
}

export type MirrorRequest = { idempotencyKey: string; body: string; rows: number };

/**
 * The requests that send a range to the source system, in the batch form: one for each partition key, and for each part of
 * a batch that is too large. The same rows of the same range give the same requests, each with an idempotency key of its
 * own.
 */
export async function mirrorRequests(ctx: OperationDeps, place: Place, range: MirrorRange): Promise<MirrorRequest[]> {
  const { table, lane, after } = place;
  const { dataset, name, life, schema } = table;
  const fields = schema.fields.slice(0, range.fields);
  const rows = await readLines<[row: number, time: string, key: string, text: string]>(
    await atLane(ctx, table, lane),
    `SELECT _row, ${timeTextSql(quoteName(schema.timestampColumn), precisionOf(schema))}, toJSONString(_partition),
            ${rowSql(table, fields)}
       FROM ${rangeSql(place, range)} ORDER BY _seq, _row, _received_at`,
    rangeParams(place, range),
  );
  const groups = Map.groupBy(rows, ([row, , key]) => {
    // By the row's place in the batch, so that a deletion of rows does not change the parts.
    return JSON.stringify([sortEntries(key), Math.floor(row / ctx.config.limits.mirror_rows_max)]);
  });
  return [...groups].map(([group, members]) => {
    const [key, part] = JSON.parse(group) as [Record<string, string>, number];
    // Without the zone, texts sort like times.
    const times = members.map(([, time]) => time.replace('Z', '')).sort();
    const keyHash = hash('sha256', JSON.stringify(key)).slice(0, 16);
    // The key includes the time because a failover of the hot buffer reuses sequences.
    const until = range.until_ms === undefined ? '' : `@${range.until_ms}`;
    const idempotencyKey = `mirror:${dataset}.${name}:${life}:${lane}:${after + 1}-${range.to}${until}:${keyHash}:${part}`;
    const declared = {
      fields: fields.map(({ name: field, type }) => ({ name: field, type })),
      ...(schema.timestampColumn !== 'timestamp' && { timestampColumn: schema.timestampColumn }),
    };
    const partition = {
      ...(Object.keys(key).length > 0 && { key }),
      timeRange: { start: `${times.at(0)}Z`, end: `${times.at(-1)}Z` },
    };
    // The rows stay the text from ClickHouse: parsing would round integers beyond 2^53.
    const rest = JSON.stringify({ datasetName: dataset, tableName: name, schema: declared, partition, idempotencyKey });
    const body = `${rest.slice(0, -1)},"rows":[${members.map(([, , , text]) => text).join(',')}]}`;
    return { idempotencyKey, body, rows: members.length };
  });
}

/** A partition key with sorted entries. */
function sortEntries(key: string): Record<string, string> {
  const entries = Object.entries(JSON.parse(key) as Record<string, string>);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function rangeSql({ table, sent }: Place, { until_ms }: MirrorRange): string {
  const until = until_ms === undefined ? '' : ` AND ${receivedSql} <= ${Number(until_ms)}`;
  return `${qualifiedName(table)}
    WHERE _lane = {_lane:UInt16} AND _seq > {_after:UInt64} AND _seq <= {_to:UInt64}${until} AND ${unsentSql(sent)}`;
}

function rangeParams({ lane, after }: Place, { to }: MirrorRange): Settings {
  return { param__lane: lane, param__after: after, param__to: to };
}

const checksumSql = (row: string) => `sipHash64(_seq, _row, ${row})`;

/** A row as JSON for the batch form. Null values are omitted, except for fields with a default. */
function rowSql({ schema }: Table, fields: Field[]): string {
  const members = fields.map((field) => {
    const column = quoteName(field.name);
    const begin = `${field.name === schema.timestampColumn ? '' : ','}${JSON.stringify(field.name)}:`;
    const member = `concat(${quoteString(begin)}, ${valueSql(field, column, precisionOf(schema))})`;
    if (isRequired(field, schema)) return member;
    if (field.type === 'string[]' || field.type === 'map') return member;
    if (field.type.startsWith('vector')) return `if(empty(${column}), '', ${member})`;
    const absent = field.default === undefined ? '' : `${begin}null`;
    return `if(isNull(${column}), ${quoteString(absent)}, assumeNotNull(${member}))`;
  });
  // The time comes first: it is never omitted, so the other members can begin with a comma.
  const time = schema.fields.findIndex(({ name }) => name === schema.timestampColumn);
  const [first = ''] = members.splice(time, 1);
  return `concat('{', ${[first, ...members].join(', ')}, '}')`;
}

function valueSql({ type }: Field, column: string, precision: TimePrecision): string {
  // The column already holds JSON text.
  if (type === 'json') return column;
  if (type === 'timestamp') return `concat('"', ${timeTextSql(column, precision)}, '"')`;
  if (type !== 'double') return `toJSONString(${column})`;
  const named = `isNaN(${column}), '"NaN"', ${column} = inf, '"Infinity"', ${column} = -inf, '"-Infinity"'`;
  return `multiIf(${named}, toJSONString(${column}))`;
}

async function readLines<Line>(node: OperationNode, sql: string, params: Settings): Promise<Line[]> {
  const text = await node.clickhouse.send({
    settings: { ...settings, ...params },
    body: `${sql} FORMAT JSONCompactEachRow`,
    timeout_ms: node.config.limits.query_timeout_ms,
  });
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}
