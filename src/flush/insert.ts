import type { Seal } from '../buffer/seal.ts';
import type { Table } from '../catalog/table.ts';
import { fieldColumns } from '../clickhouse/table.ts';
import type { Context } from '../context.ts';
import { TimestoreError } from '../errors.ts';
import { qualifiedName, quoteName, quoteString } from '../names.ts';
import { identifiedRows } from './payload.ts';

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
 * Sends a seal's rows. The statement asks ClickHouse itself which of them it has, while it runs: an insert that comes
 * late, or again, adds only what is missing.
 *
 * @param attempt 0 for the seal's own token; 1 and 2 for what a server that died has remembered but not kept
 * @throws ClickHouseError, StoreError: the rows may be there, or may still come, after either; TimestoreError for a seal
 *   of a newer version
 */
export async function insertSeal(
  ctx: Context,
  table: Table,
  lane: number,
  seal: Seal,
  attempt: number,
  timeout_ms: number,
): Promise<void> {
  const settings = insertSettings[seal.settingsVersion];
  if (settings === undefined) {
    throw new TimestoreError(
      'unavailable',
      `A newer version has begun to flush this seal (insert settings ${seal.settingsVersion}); only that one can go on with it.`,
    );
  }
  const name = qualifiedName(table);
  const fields = table.schema.fields.map((field) => quoteName(field.name)).join(', ');
  const structure = ['_seq UInt64', '_row UInt32', "_received_at DateTime64(3, 'UTC')", ...fieldColumns(table)].join(
    ', ',
  );
  const statement = `INSERT INTO ${name} (_lane, _seq, _row, _received_at, ${fields})
SELECT {lane:UInt16}, _seq, _row, _received_at, ${fields} FROM input(${quoteString(structure)})
WHERE (_seq, _row) NOT IN (SELECT _seq, _row FROM ${name} WHERE _lane = {lane:UInt16} AND _seq BETWEEN {from:UInt64} AND {to:UInt64})
FORMAT JSONEachRow
`;
  const rows = seal.batches.map((batch) => identifiedRows(batch)).join('');
  await ctx.clickhouse.send({
    settings: {
      ...settings,
      insert_deduplication_token: attempt === 0 ? seal.token : `${seal.token}:r${attempt}`,
      max_execution_time: Math.ceil(timeout_ms / 1000),
      param_lane: lane,
      param_from: seal.from,
      param_to: seal.to,
    },
    // One buffer, so that it goes with its length: a body cut short is refused whole.
    body: new TextEncoder().encode(statement + rows),
    timeout_ms: timeout_ms + 1_000,
  });
}
