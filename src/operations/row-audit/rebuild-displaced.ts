import * as z from 'zod';
import type { LaneSnapshot } from '../../buffer/snapshot.ts';
import { atLane } from '../../catalog/lane-location.ts';
import { recordManifests } from '../../catalog/manifest-outbox.ts';
import { qualifiedName } from '../../core/identifiers.ts';
import { countSeal } from '../../flush/row-count.ts';
import type { Table } from '../../schema/table.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationDeps } from '../deps.ts';
import { rebuildManifest } from './rebuild-manifests.ts';

/** Far more batches than one failover displaces. */
const batches_max = 10_000;

const storedSequenceRow = z.object({ seq: z.string(), times: z.array(z.string()) });

const recordedSequenceRow = z.object({ seq: z.string(), manifests: z.number() });

/**
 * Records flushed batches whose manifests were lost in a failover of the hot buffer, and whose sequences other batches have
 * since. The newest batch of each sequence is the one that its lane knows.
 *
 * @param since_ms only batches acknowledged after this time
 * @returns the sequences of batches that were recorded
 * @throws StoreError, ClickHouseError when a store is unavailable
 */
export async function rebuildDisplaced(
  ctx: OperationDeps,
  table: Table,
  lane: LaneSnapshot,
  since_ms = 0,
): Promise<number[]> {
  const node = await atLane(ctx, table, lane.lane);
  const shared = checkRows(
    storedSequenceRow,
    await node.clickhouse.rows(
      `SELECT _seq AS seq, arraySort(groupUniqArray(toUnixTimestamp64Milli(_received_at))) AS times
       FROM ${qualifiedName(table)}
      WHERE _lane = {lane:UInt16} AND _seq <= {watermark:UInt64} AND _received_at > fromUnixTimestamp64Milli({since:Int64}, 'UTC')
      GROUP BY seq HAVING length(times) > 1 ORDER BY seq LIMIT {most:UInt32}`,
      { lane: lane.lane, watermark: lane.watermark, since: Math.max(0, Math.trunc(since_ms)), most: batches_max },
    ),
  );
  if (shared.length === 0) return [];
  const recorded = checkRows(
    recordedSequenceRow,
    await ctx.postgres.rows(
      `select s.seq, count(m.id)::int as manifests
       from unnest($sequences::bigint[]) s(seq)
       left join manifests m on m.dataset = $dataset and m.physical_table = $physical and m.lane = $lane
                            and s.seq between m.seq_from and m.seq_to
      group by s.seq`,
      { dataset: table.dataset, physical: table.physical, lane: lane.lane, sequences: shared.map(({ seq }) => seq) },
    ),
  );
  const manifestCounts = new Map(recorded.map(({ seq, manifests }) => [String(seq), manifests]));
  const rebuilt: number[] = [];
  for (const { seq, times } of shared) {
    const unrecorded = Math.max(0, times.length - Math.max(1, manifestCounts.get(seq) ?? 0));
    for (const receivedAt_ms of times.slice(0, unrecorded).map(Number)) {
      const range = { from: Number(seq), to: Number(seq) };
      const counted = await countSeal(node, table, lane.lane, { ...range, batches: [{ receivedAt_ms }] });
      await recordManifests(ctx, [rebuildManifest(ctx, table, lane, range, counted, `displaced-${receivedAt_ms}`)]);
      rebuilt.push(range.from);
    }
  }
  return rebuilt;
}
