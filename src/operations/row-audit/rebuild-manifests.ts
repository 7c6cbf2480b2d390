import * as z from 'zod';
import type { LaneSnapshot } from '../../buffer/snapshot.ts';
import { atLane } from '../../catalog/lane-location.ts';
import type { Manifest } from '../../catalog/manifest.ts';
import { recordManifests } from '../../catalog/manifest-outbox.ts';
import { buildManifest } from '../../flush/manifest.ts';
import { countSeal, type PartitionCount, sumRows } from '../../flush/row-count.ts';
import type { Table } from '../../schema/table.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationDeps } from '../deps.ts';

type Range = { from: number; to: number };

/**
 * Rebuilds manifests that are missing up to a lane's watermark, from the rows in ClickHouse: a full outbox omitted them, or
 * Postgres lost them. The outbox must have been drained after the snapshot: then a published manifest that is not in
 * Postgres is lost.
 *
 * @returns the ranges of sequences that were rebuilt
 * @throws StoreError, ClickHouseError when a store is unavailable
 */
export async function rebuildManifests(ctx: OperationDeps, table: Table, lane: LaneSnapshot): Promise<Range[]> {
  const firstWatermark = await readFirstWatermark(ctx, table, lane);
  const node = await atLane(ctx, table, lane.lane);
  const rebuilt: Range[] = [];
  for (const gap of await findGaps(ctx, table, lane)) {
    const counted = await countSeal(node, table, lane.lane, gap);
    // Sequences before the lane's first watermark were skipped when it was created again. Without rows they need no manifest.
    const range = { from: sumRows(counted) > 0 ? gap.from : Math.max(gap.from, firstWatermark + 1), to: gap.to };
    if (range.from > range.to) continue;
    const manifest = rebuildManifest(ctx, table, lane, range, counted, 'rebuilt');
    await recordManifests(ctx, [manifest]);
    ctx.log({ event: 'manifest-rebuilt', manifest: manifest.id, rows: manifest.rows });
    rebuilt.push(range);
  }
  return rebuilt;
}

/** @param suffix end of the token, after lane and range */
export function rebuildManifest(
  ctx: OperationDeps,
  table: Table,
  { lane, incarnation }: LaneSnapshot,
  { from, to }: Range,
  counted: PartitionCount[],
  suffix: string,
): Manifest {
  const token = `${lane}:${from}-${to}:${suffix}`;
  const recorded = { lane, incarnation, token, seq_from: from, seq_to: to, trigger: 'rebuild' };
  return buildManifest(table, recorded, counted, ctx.now());
}

const gapsOfRow = z.object({ from: z.string(), to: z.string() });

async function findGaps(ctx: OperationDeps, table: Table, { lane, watermark }: LaneSnapshot): Promise<Range[]> {
  const gaps = checkRows(
    gapsOfRow,
    await ctx.postgres.rows(
      `with covered as (
       select seq_from, seq_to,
              coalesce(max(seq_to) over (order by seq_from rows between unbounded preceding and 1 preceding), 0) as before
         from manifests where dataset = $dataset and physical_table = $physical and lane = $lane)
     select before + 1 as from, seq_from - 1 as to from covered where seq_from > before + 1
     union all
     select coalesce(max(seq_to), 0) + 1, $watermark::bigint from covered having coalesce(max(seq_to), 0) < $watermark::bigint
     order by 1`,
      { dataset: table.dataset, physical: table.physical, lane, watermark },
    ),
  );
  return gaps.map(({ from, to }) => ({ from: Number(from), to: Math.min(Number(to), watermark) }));
}

const beginningOfRow = z.object({ watermark: z.string() });

/** The watermark with which this incarnation of the lane began. */
async function readFirstWatermark(
  ctx: OperationDeps,
  table: Table,
  { lane, incarnation }: LaneSnapshot,
): Promise<number> {
  const [row] = checkRows(
    beginningOfRow,
    await ctx.postgres.rows(
      'select watermark from lanes where dataset = $dataset and name = $name and life = $life and lane = $lane and incarnation = $incarnation',
      { dataset: table.dataset, name: table.name, life: table.life, lane, incarnation },
    ),
  );
  return Number(row?.watermark ?? 0);
}
