import type { Seal } from '../buffer/seal.ts';
import { encodeSkip, recordSkip, type SkipList, skippedRows } from '../buffer/skip.ts';
import { quarantineTable } from '../catalog/quarantine-table.ts';
import { StoreError } from '../core/errors.ts';
import type { Table } from '../schema/table.ts';
import type { ClickHouseError } from '../stores/clickhouse/client.ts';
import { isDataError } from '../stores/clickhouse/data-errors.ts';
import type { FlushNode } from './deps.ts';
import { findRefused } from './find-rejected-rows.ts';
import { unstoredOf } from './heartbeat.ts';
import { insertSeal } from './insert.ts';
import { countRetainedRows } from './retention-count.ts';
import { countSeal, type PartitionCount, rowsCounted, storedAmong } from './row-count.ts';

/** What an insert that the server has answered with OK may still lack: see the count. */
const repairsMax = 2;

export type Moved = {
  /** With the skip list that the rows were counted by. */
  seal: Seal;
  counted: PartitionCount[];
  /** Rows that were past their retention when ClickHouse got them. */
  expired: number;
  inserts: number;
};

/** Times a part of a flush for its event. */
export type Timed = <T>(phase: string, work: Promise<T>) => Promise<T>;

/**
 * Has every row of a seal in ClickHouse, or on its skip list.
 *
 * @returns undefined when the seal is not this flusher's any more
 * @throws StoreError, ClickHouseError: the next try starts at the seal's own token again, since what failed may still come
 */
export async function moveSeal(
  node: FlushNode,
  table: Table,
  lane: number,
  sealed: Seal,
  timeout_ms: number,
  timed: Timed,
): Promise<Moved | undefined> {
  const deadline_ms = node.now() + node.config.limits.probe_ms;
  let seal = sealed;
  let inserts = 0;
  for (;;) {
    let skip: SkipList;
    try {
      const result = await insertAndCount(node, table, lane, seal, timeout_ms, timed);
      inserts += result.inserts;
      if (result.storedAll) return { seal, inserts, counted: result.counted, expired: result.expired };
      // They have come after all, with an insert from before somebody mended the table.
      skip = without(seal.skip, result.stored);
    } catch (error) {
      // What is refused here has nowhere else to go.
      if (!isDataError(error) || table.name === quarantineTable) throw error;
      inserts += 1;
      skip = await timed('probe', lookForRefused(node, table, lane, seal, error, deadline_ms));
    }
    const recorded = await timed('skip', recordSkip(node, table, lane, seal, skip));
    if (recorded === undefined) return undefined;
    seal = recorded;
    node.log({
      event: 'rows-skipped',
      dataset: table.dataset,
      table: table.name,
      lane,
      token: seal.token,
      rows: skippedRows(skip),
    });
    if (node.now() > deadline_ms) {
      throw new StoreError('clickhouse', 'refuses many rows, which are still being looked for', undefined);
    }
  }
}

/** Throws the error itself when no row is at fault alone: then it was not the rows, but a view over the table, say. */
async function lookForRefused(
  node: FlushNode,
  table: Table,
  lane: number,
  seal: Seal,
  error: ClickHouseError,
  deadline_ms: number,
): Promise<SkipList> {
  const skip = await findRefused(node, table, lane, seal, deadline_ms);
  if (encodeSkip(skip) === encodeSkip(seal.skip)) throw error;
  return skip;
}

type Counted =
  | { storedAll: true; counted: PartitionCount[]; expired: number; inserts: number }
  | { storedAll: false; stored: { seq: number; row: number }[]; inserts: number };

/**
 * Inserts until ClickHouse shows every row. A repair token is for rows that are missing although the insert was answered
 * with OK, which happens when a server dies after it has remembered a token and before it has kept the rows.
 */
async function insertAndCount(
  node: FlushNode,
  table: Table,
  lane: number,
  seal: Seal,
  timeout_ms: number,
  timed: Timed,
): Promise<Counted> {
  const expected = seal.rows - skippedRows(seal.skip);
  let rows = 0;
  for (let attempt = 0; attempt <= repairsMax; attempt += 1) {
    await timed('insert', insertSeal(node, table, lane, seal, attempt, timeout_ms));
    const inserts = attempt + 1;
    const counted = await timed('count', countSeal(node, table, lane, seal));
    // After the count: what is not there now was not there then.
    const stored = seal.skip.size === 0 ? [] : await timed('count', storedAmong(node, table, lane, seal));
    if (stored.length > 0) return { storedAll: false, stored, inserts };
    rows = rowsCounted(counted);
    if (rows === expected) return { storedAll: true, counted, expired: 0, inserts };
    const expired = rows < expected ? await timed('count', expiredOf(node, table, lane, seal)) : undefined;
    if (expired !== undefined) return { storedAll: true, counted, expired, inserts };
    const alarm = rows > expected;
    node.log({ event: 'rows-missing', alarm, token: seal.token, attempt, expected, found: rows });
    if (alarm) break;
  }
  throw new StoreError('clickhouse', `shows ${rows} rows of a seal of ${expected}`, undefined);
}

/**
 * How many rows of a seal are missing because their retention is over; undefined when others are. Rows of batches that were
 * stored before do not count, which the hot buffer has forgotten in a failover: they were deleted since.
 */
async function expiredOf(node: FlushNode, table: Table, lane: number, seal: Seal): Promise<number | undefined> {
  const rest = await unstoredOf(node, table, lane, seal);
  if (rest === undefined) return 0;
  const missing = rest.rows - skippedRows(rest.skip) - rowsCounted(await countSeal(node, table, lane, rest));
  if (missing === 0) return 0;
  if (table.retention === undefined) return undefined;
  const { found, sent } = await countRetainedRows(node, table, table.retention, lane, rest);
  return found === sent ? missing : undefined;
}

function without(skip: SkipList, stored: { seq: number; row: number }[]): SkipList {
  const left: SkipList = new Map([...skip].map(([seq, rows]) => [seq, new Set(rows)]));
  for (const { seq, row } of stored) {
    const rows = left.get(seq);
    rows?.delete(row);
    if (rows?.size === 0) left.delete(seq);
  }
  return left;
}
