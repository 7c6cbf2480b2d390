import { type LaneSums, sumLane } from '../../buffer/audit-lane.ts';
import { type LaneSnapshot, type Snapshot, snapshotTable } from '../../buffer/snapshot.ts';
import { ensureTable } from '../../catalog/ensure-table.ts';
import { drainManifestOutbox } from '../../catalog/manifest-outbox.ts';
import { restoreLanes } from '../../catalog/provision-lanes.ts';
import { StoreError } from '../../core/errors.ts';
import { type CaughtUp, catchUpLanes } from '../../flush/catch-up.ts';
import { retainedFrom_ms, type Table } from '../../schema/table.ts';
import type { OperationDeps } from '../deps.ts';
import { showHiddenImports } from '../import/show-hidden.ts';
import { comparePartitions, type PartitionAudit } from './partitions.ts';
import { rebuildDisplaced } from './rebuild-displaced.ts';
import { rebuildManifests } from './rebuild-manifests.ts';

export type LaneAudit = {
  lane: number;
  incarnation: string;
  sequence: number;
  watermark: number;
  /** Comparison of the hot buffer's log with its state. */
  buffer: LaneSums | null;
  /** Ranges of sequences whose missing manifests were rebuilt. */
  rebuilt: { from: number; to: number }[];
};

export type TableAudit = {
  dataset: string;
  table: string;
  /** No rows are missing, duplicate or unaccounted, and the hot buffer is consistent. */
  ok: boolean;
  missing: number;
  doubled: number;
  unaccounted: number;
  lanes: LaneAudit[];
  /** Published rows that the hot buffer had forgotten in a failover, and that are visible again now. */
  shownAgain: { imports: string[]; lanes: CaughtUp[] };
  /** Only partitions with differences or with deleted rows. */
  partitions: PartitionAudit[];
  /** Number of compared partitions, over all lanes. */
  compared: number;
};

/**
 * Compares the acknowledged rows with the stored ones: sequences in the hot buffer, manifests in Postgres and rows in
 * ClickHouse, for each lane and partition up to the watermark. Accounts for retention and recorded deletions. Before the
 * comparison it shows rows again that the hot buffer has forgotten, and rebuilds missing manifests. Records the result as the
 * table's newest audit.
 *
 * @throws StoreError, ClickHouseError when a store is unavailable, without a result
 */
export async function auditTable(ctx: OperationDeps, table: Table): Promise<TableAudit> {
  // Shows rows of recorded lanes again that the hot buffer has forgotten in a failover.
  const restored = await restoreLanes(ctx, table);
  const forgotten = restored.map(({ lane, watermark }) => ({ lane, from: 1, to: watermark }));
  const before = await requireLanes(ctx, table);
  await ensureTable(ctx, table);
  const imports = await showHiddenImports(ctx, table);
  const caughtUp = [...forgotten, ...(await catchUpLanes(ctx, table, before.lanes))];
  const snapshot = imports.length + caughtUp.length > 0 ? await requireLanes(ctx, table) : before;
  // After the snapshot: then every published manifest is in Postgres, or it was lost.
  await drainManifestOutbox(ctx);
  const lanes: LaneAudit[] = [];
  for (const lane of snapshot.lanes) lanes.push(await auditLane(ctx, table, lane));
  const compare = () => comparePartitions(ctx, table, snapshot.lanes, retainedFrom_ms(table, ctx.now()));
  let all = await compare();
  if (all.some(({ unaccounted }) => unaccounted > 0) && (await recordDisplaced(ctx, table, lanes, snapshot.lanes))) {
    all = await compare();
  }
  const sum = (count: (partition: PartitionAudit) => number) => all.reduce((total, each) => total + count(each), 0);
  const [missing, doubled, unaccounted] = [
    sum((each) => each.missing),
    sum((each) => each.doubled),
    sum((each) => each.unaccounted),
  ];
  const isBufferWhole = lanes.every(({ buffer }) => buffer === null || buffer.isWhole);
  const audit: TableAudit = {
    dataset: table.dataset,
    table: table.name,
    ok: missing + doubled + unaccounted === 0 && isBufferWhole,
    missing,
    doubled,
    unaccounted,
    lanes,
    shownAgain: { imports, lanes: caughtUp },
    partitions: all.filter(({ expected, found, doubled: duplicates, unaccounted: unrecorded, deleted }) => {
      return expected !== found || duplicates > 0 || unrecorded > 0 || deleted > 0;
    }),
    compared: all.length,
  };
  await record(ctx, table, audit);
  if (!audit.ok) {
    const { dataset, table: name } = audit;
    ctx.log({ event: 'audit', alarm: true, dataset, table: name, missing, doubled, unaccounted, isBufferWhole });
  }
  return audit;
}

/** Records batches that a failover of the hot buffer left without a manifest. Returns whether it found any. */
async function recordDisplaced(
  ctx: OperationDeps,
  table: Table,
  audits: LaneAudit[],
  lanes: LaneSnapshot[],
): Promise<boolean> {
  let isAny = false;
  for (const [i, lane] of lanes.entries()) {
    const sequences = await rebuildDisplaced(ctx, table, lane);
    audits[i]?.rebuilt.push(...sequences.map((seq) => ({ from: seq, to: seq })));
    isAny ||= sequences.length > 0;
  }
  return isAny;
}

async function requireLanes(ctx: OperationDeps, table: Table): Promise<Snapshot> {
  const snapshot = await snapshotTable(ctx, table, 'state');
  if (snapshot !== 'unknown') return snapshot;
  throw new StoreError('redis', `has no lanes of table ${table.name}; the next write creates them`, undefined);
}

async function auditLane(ctx: OperationDeps, table: Table, snapshot: LaneSnapshot): Promise<LaneAudit> {
  const { lane, incarnation, seq, watermark } = snapshot;
  return {
    lane,
    incarnation,
    sequence: seq,
    watermark,
    buffer: (await sumLane(ctx, table, lane)) ?? null,
    rebuilt: await rebuildManifests(ctx, table, snapshot),
  };
}

async function record(ctx: OperationDeps, { life }: Table, audit: TableAudit): Promise<void> {
  const { dataset, table, missing, doubled, unaccounted } = audit;
  await ctx.postgres.rows(
    `insert into audits (dataset, name, missing, doubled, unaccounted, report, life)
     values ($dataset, $table, $missing, $doubled, $unaccounted, $audit::jsonb, $life)
     on conflict (dataset, name) do update
       set audited_at = now(), missing = excluded.missing, doubled = excluded.doubled,
           unaccounted = excluded.unaccounted, report = excluded.report, life = excluded.life
       where audits.life <= excluded.life`,
    { dataset, table, missing, doubled, unaccounted, audit: JSON.stringify(audit), life },
  );
}
