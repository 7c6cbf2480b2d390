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
  // Answered when the rows are there, not when they are queued.
  async_insert: 0,
  // The token counts for an INSERT … SELECT too, and every block of it gets its own place under the token.
  insert_deduplicate: 1,
  deduplicate_insert_select: 'force_enable',
  deduplicate_blocks_in_dependent_materialized_views: 1,
  // One stream of blocks in the order of the rows.
  max_insert_threads: 1,
  input_format_parallel_parsing: 0,
  min_insert_block_size_bytes: 0,
  min_insert_block_size_rows: 1_048_576,
  max_insert_block_size: 1_048_576,
  // A field that the table lacks is an error here, not a value lost.
  input_format_skip_unknown_fields: 0,
  max_partitions_per_insert_block: 0,
  // Doubles as the nearest one to their digits, as the sender's language reads them.
  precise_float_parsing: 1,
  max_query_size: 4_194_304,
} as const;

/**
 * What the inserts of a seal run under, by a version that is stored with it. The same rows under the same token are
 * dropped only when they come in the same blocks, so a version never changes: another deployment may have sent a part of
 * the seal under it. Changes are a new version.
 */
const insertSettings: Record<number, typeof firstSettings> = { 1: firstSettings };

export const settingsVersion = 1;

/**
 * Sends a seal's rows but those on its skip list. The statement asks ClickHouse itself, while it runs, which of them it
 * has and which were set aside: an insert that comes late, or again, adds only what is missing. It adds nothing of a batch
 * that was found there before, since rows of it that are not there now were deleted; and nothing at all while an insert into
 * the lane runs under another token, which this one could not see the rows of: seals overlap when the buffer has forgotten
 * one in a failover.
 *
 * @param attempt 0 for the seal's own token; 1 and 2 for what a server that died has remembered but not kept
 * @throws ClickHouseError, StoreError: the rows may be there, or may still come, after either; TimestoreError for a seal
 *   of a newer version
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
      `WHERE ${isAlone(await node.clickhouseKind())} AND (_seq, _received_at) NOT IN ${storedBatches}
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

/** What inserts into a lane are known by among all that a server runs: their `log_comment`. */
export function insertPlace({ dataset, physical }: TableRef, lane: number): string {
  return `timestore ${dataset}.${physical} ${lane}`;
}

/**
 * The condition that no insert into the same lane runs under another token, with parameters `place` and `token`. ClickHouse
 * answers it before it looks which rows are there: one that has ended by then has its rows seen.
 */
export const isAlone = (kind: Kind) => `(SELECT count() FROM ${everyReplica(kind, 'system.processes')}
          WHERE Settings['log_comment'] = {place:String} AND Settings['insert_deduplication_token'] != {token:String}) = 0`;

/** Sends lines to a twin of the table, which keeps none. Throws ClickHouseError where the table would refuse them too. */
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
    `A newer version has begun to flush this seal (insert settings ${version}); only that one can go on with it.`,
  );
}

/** One buffer, so that it goes with its length: a body cut short is refused whole. */
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
  return encoded([part(head), ...rows]);
}

/** A part of a statement, which is made when its turn comes. */
type Part = { bytesMax: number; text(): string };

const part = (text: string): Part => ({ bytesMax: Buffer.byteLength(text), text: () => text });

/** Several megabytes as a rule: they are never there as strings all at once, beside what they were made of and their bytes. */
function encoded(parts: Part[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { bytesMax }) => sum + bytesMax, 0));
  const encoder = new TextEncoder();
  let at = 0;
  for (const { text } of parts) at += encoder.encodeInto(text(), bytes.subarray(at)).written;
  return bytes.subarray(0, at);
}
