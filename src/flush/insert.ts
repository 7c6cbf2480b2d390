import { identifiedBytesMax, identifiedLines, identifiedRows } from '../buffer/batch-rows.ts';
import type { Seal } from '../buffer/seal.ts';
import { fieldColumns } from '../catalog/table-ddl.ts';
import { ApiError } from '../core/errors.ts';
import { qualifiedName, quoteName, quoteString, type TableRef } from '../core/identifiers.ts';
import type { Table } from '../schema/table.ts';
import { everyReplica, type Kind } from '../stores/clickhouse/kind.ts';
import type { FlushNode } from './deps.ts';
import { storedBatches } from './heartbeat.ts';

const firstSettings = {
  // Returns after the insert, not when the rows are queued.
  async_insert: 0,
  // The deduplication token applies to INSERT … SELECT too, with its own entry for each block.
  insert_deduplicate: 1,
  deduplicate_insert_select: 'force_enable',
  deduplicate_blocks_in_dependent_materialized_views: 1,
  // One stream of blocks in the order of the rows.
  max_insert_threads: 1,
  input_format_parallel_parsing: 0,
  min_insert_block_size_bytes: 0,
  min_insert_block_size_rows: 1_048_576,
  max_insert_block_size: 1_048_576,
  // An unknown field is an error, not a lost value.
  input_format_skip_unknown_fields: 0,
  max_partitions_per_insert_block: 0,
  // The double nearest to the digits, as the sender's language parses it.
  precise_float_parsing: 1,
  max_query_size: 4_194_304,
} as const;

/**
 * Settings of inserts, by the version that is stored with the seal. Deduplication works only with the same blocks, so a version
 * never changes: another deployment may have inserted a part of the seal with it. A change is a new version.
 */
const insertSettings: Record<number, typeof firstSettings> = { 1: firstSettings };

export const settingsVersion = 1;

/**
 * Inserts the rows of a seal except its skip list. The statement itself excludes rows that ClickHouse has or that are
 * quarantined, so a late or repeated insert adds missing rows only. It adds no rows of recorded batches, because their missing
 * rows were deleted. It adds nothing while an insert with another deduplication token runs in the lane, whose rows it could
 * not see: seals overlap if a failover of the buffer has lost one.
 *
 * @param attempt 0 for the seal's own deduplication token; 1 and 2 if a crashed server has remembered a token and lost its rows
 * @throws ClickHouseError, StoreError; the rows may be stored, or may arrive later. ApiError for a seal of a newer version
 */
export async function insertSeal(
  node: FlushNode,
  table: Table,
  lane: number,
  seal: Seal,
  attempt: number,
  timeout_ms: number,
): Promise<void> {
  const name = qualifiedName(table);
  const place = insertPlace(table, lane);
  const token = attempt === 0 ? seal.token : `${seal.token}:r${attempt}`;
  const rows = seal.batches.map((batch) => ({
    bytesMax: identifiedBytesMax(batch, table.schema),
    text() {
      const skipped = seal.skip.get(batch.seq);
      if (skipped === undefined) return identifiedRows(batch, table.schema);
      return identifiedLines(batch, table.schema, (row) => !skipped.has(row)).join('');
    },
  }));
  await node.clickhouse.send({
    settings: {
      ...settingsOf(seal.settingsVersion),
      insert_deduplication_token: token,
      log_comment: place,
      max_execution_time: Math.ceil(timeout_ms / 1000),
      param_lane: lane,
      param_from: seal.from,
      param_to: seal.to,
      param_dataset: table.dataset,
      param_table: table.physical,
      param_place: place,
      param_token: token,
    },
    body: statement(
      table,
      name,
      `WHERE ${isOnlyInsert(await node.clickhouseKind())} AND (_seq, _received_at) NOT IN ${storedBatches}
  AND (_seq, _row, _received_at) NOT IN (SELECT _seq, _row, _received_at FROM ${name}
                              WHERE _lane = {lane:UInt16} AND _seq BETWEEN {from:UInt64} AND {to:UInt64})
  AND (_seq, _row, _received_at) NOT IN (SELECT seq, row, received_at FROM timestore.skipped_rows WHERE ${skippedHere})
  AND (_seq, _row) NOT IN (SELECT seq, row FROM timestore.skipped_rows WHERE ${skippedHere} AND received_at = 0)\n`,
      rows,
    ),
    timeout_ms: timeout_ms + 1_000,
  });
}

const skippedHere = `dataset = {dataset:String} AND \`table\` = {table:String}
                              AND lane = {lane:UInt16} AND seq BETWEEN {from:UInt64} AND {to:UInt64}`;

/** The `log_comment` of inserts into a lane, which identifies them among all queries of a server. */
export function insertPlace({ dataset, physical }: TableRef, lane: number): string {
  return `timestore ${dataset}.${physical} ${lane}`;
}

/**
 * The condition that no insert into the same lane runs with another deduplication token. Parameters: `place` and `token`.
 * ClickHouse evaluates it before it reads the existing rows, so it sees the rows of every insert that has ended.
 */
export const isOnlyInsert = (kind: Kind) => `(SELECT count() FROM ${everyReplica(kind, 'system.processes')}
          WHERE Settings['log_comment'] = {place:String} AND Settings['insert_deduplication_token'] != {token:String}) = 0`;

/** Inserts lines into a probe table, which stores nothing. Throws ClickHouseError if the table would reject them too. */
export async function insertIntoProbe(
  node: FlushNode,
  table: Table,
  twin: TableRef,
  version: number,
  lines: string[],
  timeout_ms: number,
): Promise<void> {
  await node.clickhouse.send({
    settings: {
      ...settingsOf(version),
      insert_deduplicate: 0,
      deduplicate_insert_select: 'disable',
      max_execution_time: Math.ceil(timeout_ms / 1000),
      param_lane: 0,
    },
    body: statement(table, qualifiedName(twin), '', lines.map(part)),
    timeout_ms: timeout_ms + 1_000,
  });
}

function settingsOf(version: number): typeof firstSettings {
  const settings = insertSettings[version];
  if (settings !== undefined) return settings;
  throw new ApiError(
    'unavailable',
    `A newer version of Timestore has begun to flush this seal (insert settings ${version}). Only that version can complete it.`,
  );
}

/** One buffer, so that the request has a content length: ClickHouse rejects a truncated body. */
function statement(table: Table, target: string, where: string, rows: Part[]): Uint8Array {
  const system = ['_seq', '_row', '_received_at', '_partition'];
  const structure = [
    "_seq UInt64, _row UInt32, _received_at DateTime64(3, 'UTC')",
    '_partition Map(LowCardinality(String), String)',
    ...fieldColumns(table),
  ].join(', ');
  const columns = [...system, ...table.schema.fields.map(({ name }) => quoteName(name))].join(', ');
  const head =
    `INSERT INTO ${target} (_lane, ${columns})\nSELECT {lane:UInt16}, ${columns} FROM input(${quoteString(structure)})\n` +
    `${where}FORMAT JSONEachRow\n`;
  return encodeParts([part(head), ...rows]);
}

/** A part of a statement, built when it is encoded. */
type Part = { bytesMax: number; text(): string };

const part = (text: string): Part => ({ bytesMax: Buffer.byteLength(text), text: () => text });

/** Encodes part by part: the strings of all parts together would need several megabytes more. */
function encodeParts(parts: Part[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { bytesMax }) => sum + bytesMax, 0));
  const encoder = new TextEncoder();
  let at = 0;
  for (const { text } of parts) at += encoder.encodeInto(text(), bytes.subarray(at)).written;
  return bytes.subarray(0, at);
}
