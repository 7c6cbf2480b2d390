import * as z from 'zod';
import { askLong } from '../../catalog/object-table.ts';
import { ApiError, StoreError } from '../../core/errors.ts';
import { qualifiedName, quoteName } from '../../core/identifiers.ts';
import { storedBatches } from '../../flush/heartbeat.ts';
import { insertPlace, isOnlyInsert } from '../../flush/insert.ts';
import type { Table } from '../../schema/table.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import type { OperationNode } from '../deps.ts';

/** A row's position in the staging table: time (ms), object, row within the object. */
export type Place = [time_ms: number, object: number, row: number];

/** Rows that one insert moves: from a position in the staging table up to the next chunk. */
export type Chunk = { from: Place; rows: number };

/** The staging table's SQL name, and the condition for the rows to move. */
export type Source = { staging: string; where: string };

/** A chunk is one block of an insert, so its deduplication token covers all of its rows. */
const rows_max = 1_000_000;
const cells_max = 20_000_000;
/** As in a flush: each partition of an insert becomes a part on disk. */
const partitions_max = 100;
const windows_max = 100_000;

const planChunksRow = z.object({ from_ms: z.string(), to_ms: z.string(), rows: z.string() });

/**
 * Divides the rows into chunks in the order of time, so that each chunk has few partitions. The staging table must not change
 * afterwards.
 *
 * @throws TimestoreError `limit-exceeded`; StoreError, ClickHouseError
 */
export async function planChunks(node: OperationNode, table: Table, { staging, where }: Source): Promise<Chunk[]> {
  const size = Math.max(
    1,
    Math.min(node.config.limits.import_rows_max, Math.floor(cells_max / table.schema.fields.length), rows_max),
  );
  const time = quoteName(table.schema.timestampColumn);
  const window = { hour: `toStartOfHour(${time})`, day: `toDate(${time})`, month: `toYYYYMM(${time})` }[table.window];
  const windows = checkRows(
    planChunksRow,
    await node.clickhouse.rows(
      `SELECT toUnixTimestamp64Milli(min(${time})) AS from_ms, toUnixTimestamp64Milli(max(${time})) AS to_ms, count() AS rows
       FROM ${staging} WHERE ${where} GROUP BY ${window} ORDER BY from_ms LIMIT ${windows_max + 1}`,
    ),
  );
  if (windows.length > windows_max) {
    throw new ApiError(
      'limit-exceeded',
      `The rows cover more than ${windows_max} partitions of the table. Import them in several time ranges.`,
    );
  }
  const chunks: Chunk[] = [];
  let partitions = 0;
  for (const each of windows) {
    const rows = Number(each.rows);
    const last = chunks.at(-1);
    if (last !== undefined && partitions < partitions_max && last.rows + rows <= size) {
      last.rows += rows;
      partitions += 1;
      continue;
    }
    partitions = 1;
    if (rows <= size) {
      chunks.push({ from: [Number(each.from_ms), 0, 0], rows });
      continue;
    }
    chunks.push(
      ...(await divideWindow(node, table, { staging, where }, [Number(each.from_ms), Number(each.to_ms)], rows, size)),
    );
    // The next window starts a new chunk, so that only chunks of this window have a part of a window.
    partitions = partitions_max;
  }
  return chunks;
}

async function divideWindow(
  node: OperationNode,
  table: Table,
  { staging, where }: Source,
  [from_ms, to_ms]: [number, number],
  rows: number,
  size: number,
): Promise<Chunk[]> {
  const time = quoteName(table.schema.timestampColumn);
  const text = await askLong(
    node,
    `SELECT ms, _object, _place
       FROM (SELECT ${millisecond(time)} AS ms, _object, _place, row_number() OVER (ORDER BY ms, _object, _place) AS n
               FROM ${staging}
              WHERE ${where} AND ${millisecond(time)} BETWEEN {_from:Int64} AND {_to:Int64})
      WHERE n % {_size:UInt64} = 1 OR {_size:UInt64} = 1 ORDER BY ms, _object, _place FORMAT JSONCompactEachRow`,
    { param__from: from_ms, param__to: to_ms, param__size: size, output_format_json_quote_64bit_integers: 0 },
  );
  const places = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Place);
  return places.map((from, i) => ({ from, rows: i === places.length - 1 ? rows - i * size : size }));
}

/** Chunks are divided between milliseconds; finer times belong to the chunk of their millisecond. */
const millisecond = (time: string) => `toUnixTimestamp64Milli(${time})`;
const instant = (ms: string) => `fromUnixTimestamp64Milli(${ms}, 'UTC')`;

/** Lane, sequence, token and time of a chunk in the table. */
export type Target = { lane: number; seq: number; token: string; receivedAt_ms: number };

const repairs_max = 2;

/**
 * Stores every row of a chunk in ClickHouse exactly once, as a flush does with a seal: the insert omits rows that are stored,
 * its token depends only on the chunk, and a count confirms the result.
 *
 * @throws StoreError, ClickHouseError: the next attempt uses the chunk's first token again, because a failed insert may
 *   still complete
 */
export async function moveChunk(
  node: OperationNode,
  table: Table,
  source: Source,
  chunk: Chunk,
  next: Chunk | undefined,
  target: Target,
): Promise<void> {
  const rows = rowsSql(table, source, chunk, next);
  let found = 0;
  for (let attempt = 0; attempt <= repairs_max; attempt += 1) {
    await insertChunk(node, table, rows, target, attempt);
    found = await countChunk(node, table, target, rows);
    if (found === chunk.rows) return;
    const alarm = found > chunk.rows;
    node.log({ event: 'rows-missing', alarm, token: target.token, attempt, expected: chunk.rows, found });
    if (alarm) break;
  }
  throw new StoreError('clickhouse', `has ${found} rows of a chunk of ${chunk.rows} rows`, undefined);
}

type Rows = { from: string; params: Settings };

function rowsSql(table: Table, { staging, where }: Source, { from }: Chunk, next: Chunk | undefined): Rows {
  const time = quoteName(table.schema.timestampColumn);
  const place = `(${millisecond(time)}, _object, _place)`;
  const params: Settings = { param__a: from[0], param__b: from[1], param__c: from[2] };
  // The time is compared separately too, because the index needs a condition on the time alone.
  const conditions = [`${time} >= ${instant('{_a:Int64}')} AND ${place} >= ({_a:Int64}, {_b:UInt32}, {_c:UInt64})`];
  if (next !== undefined) {
    Object.assign(params, { param__d: next.from[0], param__e: next.from[1], param__f: next.from[2] });
    conditions.push(`${time} < ${instant('{_d:Int64} + 1')} AND ${place} < ({_d:Int64}, {_e:UInt32}, {_f:UInt64})`);
  }
  return { from: `${staging} WHERE ${where} AND ${conditions.join(' AND ')}`, params };
}

async function insertChunk(
  node: OperationNode,
  table: Table,
  rows: Rows,
  { lane, seq, token, receivedAt_ms }: Target,
  attempt: number,
): Promise<void> {
  const name = qualifiedName(table);
  const time = quoteName(table.schema.timestampColumn);
  const fields = table.schema.fields.map((field) => quoteName(field.name)).join(', ');
  const place = insertPlace(table, lane);
  const own = attempt === 0 ? token : `${token}:r${attempt}`;
  await askLong(
    node,
    `INSERT INTO ${name} (_lane, _seq, _row, _received_at, ${fields})
     SELECT {_lane:UInt16}, {_seq:UInt64}, _n, ${instant('{_at:Int64}')}, ${fields}
       FROM (SELECT toUInt32(row_number() OVER (ORDER BY ${time}, _object, _place) - 1) AS _n, ${fields} FROM ${rows.from})
      WHERE ${isOnlyInsert(await node.clickhouseKind())}
        AND ({_seq:UInt64}, ${instant('{_at:Int64}')}) NOT IN ${storedBatches}
        AND _n NOT IN (SELECT _row FROM ${name} WHERE ${chunkCondition})`,
    {
      ...rows.params,
      param__lane: lane,
      param__seq: seq,
      param__at: receivedAt_ms,
      param_dataset: table.dataset,
      param_table: table.physical,
      param_lane: lane,
      param_from: seq,
      param_to: seq,
      param_place: place,
      param_token: own,
      log_comment: place,
      insert_deduplication_token: own,
      async_insert: 0,
      insert_deduplicate: 1,
      deduplicate_insert_select: 'force_enable',
      deduplicate_blocks_in_dependent_materialized_views: 1,
      max_insert_threads: 1,
      // The chunk must be one block.
      min_insert_block_size_bytes: 0,
      min_insert_block_size_rows: 1_048_576,
      max_insert_block_size: 1_048_576,
      max_partitions_per_insert_block: 0,
    },
  );
}

/** The condition for rows of a chunk. The time excludes a batch with the same sequence after a failover of the hot buffer. */
const chunkCondition = `_lane = {_lane:UInt16} AND _seq = {_seq:UInt64} AND _received_at = ${instant('{_at:Int64}')}`;

/** Number of the chunk's rows in the table, including rows that its retention has deleted since. */
async function countChunk(
  node: OperationNode,
  table: Table,
  { lane, seq, receivedAt_ms }: Target,
  rows: Rows,
): Promise<number> {
  const time = quoteName(table.schema.timestampColumn);
  const stored = `SELECT count() FROM ${qualifiedName(table)} WHERE ${chunkCondition}`;
  // One second more: ClickHouse applies retention in whole seconds.
  const retained = `now64(3, 'UTC') - toIntervalDay(${table.retention?.totalDays}) + toIntervalSecond(1)`;
  const expired = `SELECT count() FROM ${rows.from} AND ${time} < ${retained}`;
  const storedExpired = `${stored} AND ${time} < ${retained}`;
  const deleted = table.retention === undefined ? '0' : `(${expired}) - (${storedExpired})`;
  const text = await askLong(node, `SELECT (${stored}) + ${deleted} FORMAT TSV`, {
    ...rows.params,
    param__lane: lane,
    param__seq: seq,
    param__at: receivedAt_ms,
  });
  return Number(text);
}
