import type { Seal } from '../buffer/seal.ts';
import { encodeSkip, recordSkip, type SkipList, skippedRows } from '../buffer/skip.ts';
import { quarantineTable } from '../catalog/quarantine-table.ts';
import { StoreError } from '../core/errors.ts';
import type { Table } from '../schema/table.ts';
import type { ClickHouseError } from '../stores/clickhouse/client.ts';
import { isDataError } from '../stores/clickhouse/data-errors.ts';
import type { FlushNode } from './deps.ts';
import { findRejectedRows } from './find-rejected-rows.ts';
import { withoutRecordedBatches } from './heartbeat.ts';
import { insertSeal } from './insert.ts';
import { countRetainedRows } from './retention-count.ts';
import { countSeal, findStoredSkips, type PartitionCount, sumRows } from './row-count.ts';

/** Further inserts if the count shows missing rows after a successful insert. */
const repairs_max = 2;

export type Moved = {
  /** The seal with the skip list of the count. */
  seal: Seal;
  counted: PartitionCount[];
  /** Rows that were past their retention at the insert. */
  expired: number;
  inserts: number;
};

/** Times a part of a flush for its event. */
export type Timed = <T>(phase: string, work: Promise<T>) => Promise<T>;

/**
 * Inserts every row of a seal into ClickHouse or adds it to the skip list.
 *
 * @returns undefined if this flush has lost the seal
 * @throws StoreError, ClickHouseError; a retry begins with the seal's own deduplication token, because a failed insert may still
 *   arrive
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
      // An earlier insert has stored rows of the skip list, because the table was repaired meanwhile.
      skip = removeStored(seal.skip, result.stored);
    } catch (error) {
      // Rejected rows of the quarantine have no other destination.
      if (!isDataError(error) || table.name === quarantineTable) throw error;
      inserts += 1;
      skip = await timed('probe', findNewRejections(node, table, lane, seal, error, deadline_ms));
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
      throw new StoreError('clickhouse', 'rejects many rows; the search for them continues', undefined);
    }
  }
}

/** Throws the original error if no single row is invalid: then another cause, such as a view of the table, rejects the insert. */
async function findNewRejections(
  node: FlushNode,
  table: Table,
  lane: number,
  seal: Seal,
  error: ClickHouseError,
  deadline_ms: number,
): Promise<SkipList> {
  const skip = await findRejectedRows(node, table, lane, seal, deadline_ms);
  if (encodeSkip(skip) === encodeSkip(seal.skip)) throw error;
  return skip;
}

type Counted =
  | { storedAll: true; counted: PartitionCount[]; expired: number; inserts: number }
  | { storedAll: false; stored: { seq: number; row: number }[]; inserts: number };

/**
 * Inserts until ClickHouse shows every row. A further attempt has its own deduplication token, for a server that crashed after
 * it had remembered a token and before it had stored the rows.
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
  for (let attempt = 0; attempt <= repairs_max; attempt += 1) {
    await timed('insert', insertSeal(node, table, lane, seal, attempt, timeout_ms));
    const inserts = attempt + 1;
    const counted = await timed('count', countSeal(node, table, lane, seal));
    // After the count, so that a row absent now was absent in the count.
    const stored = seal.skip.size === 0 ? [] : await timed('count', findStoredSkips(node, table, lane, seal));
    if (stored.length > 0) return { storedAll: false, stored, inserts };
    rows = sumRows(counted);
    if (rows === expected) return { storedAll: true, counted, expired: 0, inserts };
    const expired = rows < expected ? await timed('count', countExpired(node, table, lane, seal)) : undefined;
    if (expired !== undefined) return { storedAll: true, counted, expired, inserts };
    const alarm = rows > expected;
    node.log({ event: 'rows-missing', alarm, token: seal.token, attempt, expected, found: rows });
    if (alarm) break;
  }
  throw new StoreError('clickhouse', `shows ${rows} rows of a seal of ${expected}`, undefined);
}

/**
 * The number of rows of a seal that are missing because of their retention; undefined if other rows are missing. Recorded
 * batches do not count: their missing rows were deleted later, and a failover of the hot buffer has made them pending again.
 */
async function countExpired(node: FlushNode, table: Table, lane: number, seal: Seal): Promise<number | undefined> {
  const rest = await withoutRecordedBatches(node, table, lane, seal);
  if (rest === undefined) return 0;
  const missing = rest.rows - skippedRows(rest.skip) - sumRows(await countSeal(node, table, lane, rest));
  if (missing === 0) return 0;
  if (table.retention === undefined) return undefined;
  const { found, sent } = await countRetainedRows(node, table, table.retention, lane, rest);
  return found === sent ? missing : undefined;
}

function removeStored(skip: SkipList, stored: { seq: number; row: number }[]): SkipList {
  const remaining: SkipList = new Map([...skip].map(([seq, rows]) => [seq, new Set(rows)]));
  for (const { seq, row } of stored) {
    const rows = remaining.get(seq);
    rows?.delete(row);
    if (rows?.size === 0) remaining.delete(seq);
  }
  return remaining;
}
