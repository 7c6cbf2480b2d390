import * as z from 'zod';
import { changeLanes } from '../buffer/change-lanes.ts';
import type { ImportSeal } from '../buffer/seal-import.ts';
import { setUpLane } from '../buffer/set-up.ts';
import { type LaneSnapshot, type Snapshot, snapshotTable } from '../buffer/snapshot.ts';
import { requireFirstRow, StoreError } from '../core/errors.ts';
import { qualifiedName } from '../core/identifiers.ts';
import type { Table } from '../schema/table.ts';
import { notWritable } from '../schema/table-state.ts';
import { checkRows } from '../stores/check-rows.ts';
import { applyQuota } from './apply-states.ts';
import type { CatalogDeps } from './deps.ts';
import { ensureTable } from './ensure-table.ts';
import { readTable } from './find-table.ts';
import { atLane } from './lane-location.ts';
import { LifeEndedError } from './life.ts';

const importRow: z.ZodType<{ seal: ImportSeal }> = z.object({
  seal: z.object({ id: z.string(), lane: z.number(), from: z.number(), to: z.number(), token: z.string() }),
});

const rounds_max = 5;

/**
 * Creates the lanes of a table in the hot buffer, for a new table or after the buffer has lost them. A lane continues after its
 * greatest sequence in ClickHouse.
 *
 * @returns the newest definition, of which the lanes are
 * @throws LifeEndedError for a table that was dropped meanwhile; StoreError if Postgres or ClickHouse is unavailable: rows must
 *   not be staged before both have answered
 */
export async function setUpLanes(ctx: CatalogDeps, seen: Table): Promise<Table> {
  for (let round = 0; round < rounds_max; round += 1) {
    // The newest number of lanes: with fewer, queries would lack the rows of the others.
    const table = await readTable(ctx, seen.dataset, seen.name);
    if (table?.physical !== seen.physical) throw new LifeEndedError(seen);
    // The table may be dropped concurrently, and new lanes would remain.
    if (table.state === 'deleting') throw notWritable(table.dataset, table.name, table.state);
    await ensureTable(ctx, table);
    await applyQuota(ctx, table.dataset);
    if (await setUpAll(ctx, table)) return table;
  }
  throw new StoreError('postgres', `kept changing table ${seen.name}`, undefined);
}

/**
 * A snapshot of all lanes. Sets lanes up again that the hot buffer has lost, also after a failover to a state without them.
 *
 * @throws LifeEndedError; StoreError
 */
export async function knownLanes(ctx: CatalogDeps, table: Table): Promise<Snapshot> {
  let snapshot = await snapshotTable(ctx, table, 'state');
  if (snapshot === 'unknown') {
    await setUpLanes(ctx, table);
    snapshot = await snapshotTable(ctx, table, 'state');
  }
  if (snapshot !== 'unknown' && snapshot.lanes.length < table.shards.length) {
    await restoreLanes(ctx, table);
    snapshot = await snapshotTable(ctx, table, 'state');
  }
  if (snapshot !== 'unknown') return snapshot;
  throw new StoreError('redis', `does not know the lanes of table ${table.name}`, undefined);
}

/**
 * Restores lanes of the definition that the hot buffer lacks after a failover to a state without them. Safe with a concurrent
 * change of the number of lanes.
 *
 * @returns the restored lanes
 * @throws LifeEndedError; StoreError
 */
export async function restoreLanes(ctx: CatalogDeps, table: Table): Promise<LaneSnapshot[]> {
  const before = await snapshotTable(ctx, table, 'state');
  if (before === 'unknown' || before.lanes.length >= table.shards.length) return [];
  const { lanes: writers, shards } = await setUpLanes(ctx, table);
  const outcome = await changeLanes(ctx, table, writers, shards.length);
  if (outcome === 'importing') await changeLanes(ctx, table, undefined, shards.length);
  const after = await snapshotTable(ctx, table, 'state');
  const restored = after === 'unknown' ? [] : after.lanes.slice(before.lanes.length);
  for (const { lane, watermark } of restored) {
    const { dataset, name } = table;
    ctx.log({ event: 'buffer-rolled-back', alarm: true, dataset, table: name, lane, from: 1, to: watermark });
  }
  return restored;
}

const setUpAllRow = z.object({ watermark: z.string() });

/** Returns false if the table, such as its state, has changed since it was read. */
async function setUpAll(ctx: CatalogDeps, table: Table): Promise<boolean> {
  const importing = await readImportSeal(ctx, table);
  // Lane 0 last: it has the number of lanes, so that no writer uses a missing lane.
  for (let lane = table.readLanes - 1; lane >= 0; lane -= 1) {
    const earlier = checkRows(
      setUpAllRow,
      await ctx.postgres.rows(
        'select watermark from lanes where dataset = $dataset and name = $name and life = $life and lane = $lane',
        { dataset: table.dataset, name: table.name, life: table.life, lane },
      ),
    );
    const incarnation = crypto.randomUUID().slice(0, 8);
    const watermark = importing?.lane === lane ? importing.from - 1 : await lastSequence(ctx, table, lane, earlier);
    // Recorded first, so that a later setup detects the loss of the lane.
    await recordLane(ctx, table, lane, { incarnation, watermark });
    const made = await setUpLane(ctx, table, lane, { incarnation, watermark }, importing);
    if (made.outcome === 'stale') return false;
    if (made.outcome === 'created') {
      await noteBeginning(ctx, table, lane, made);
      const { dataset, name } = table;
      ctx.log({ event: 'lane-set-up', dataset, table: name, lane, again: earlier.length > 0, ...made });
    }
  }
  return true;
}

/**
 * The seal of an import in progress, which the buffer may have lost. An import that has not taken its sequences has no rows, and
 * other rows may get them.
 */
async function readImportSeal(ctx: CatalogDeps, { dataset, name, life }: Table): Promise<ImportSeal | undefined> {
  const [found] = checkRows(
    importRow,
    await ctx.postgres.rows(
      `select progress->'seal' as seal from jobs
      where kind = 'import' and dataset = $dataset and "table" = $name and state in ('queued', 'running', 'failed')
        and progress ? 'seal' and (progress->>'isTaken')::boolean and (progress->>'life')::int = $life`,
      { dataset, name, life },
    ),
  );
  return found?.seal;
}

const lastSequenceRow = z.object({ seq: z.string() });

/**
 * The sequence after which a lane continues. An insert of a lost seal may still arrive. Its sequences end at most one seal after
 * the greatest in ClickHouse, so the lane skips them: no other batch may get them.
 */
async function lastSequence(
  ctx: CatalogDeps,
  table: Table,
  lane: number,
  earlier: { watermark: string }[],
): Promise<number> {
  const node = await atLane(ctx, table, lane);
  const rows = checkRows(
    lastSequenceRow,
    await node.clickhouse.rows(`SELECT max(_seq) AS seq FROM ${qualifiedName(table)} WHERE _lane = {lane:UInt16}`, {
      lane,
    }),
  );
  const shown = Number(requireFirstRow('clickhouse', rows).seq);
  if (shown === 0 && earlier.length === 0) return 0;
  return Math.max(shown, ...earlier.map(({ watermark }) => Number(watermark))) + ctx.config.limits.flush_batches_max;
}

async function recordLane(
  ctx: CatalogDeps,
  table: Table,
  lane: number,
  { incarnation, watermark }: { incarnation: string; watermark: number },
): Promise<void> {
  await ctx.postgres.rows(
    `insert into lanes (dataset, name, life, lane, incarnation, watermark) values ($dataset, $name, $life, $lane, $incarnation, $watermark)
     on conflict do nothing`,
    { dataset: table.dataset, name: table.name, life: table.life, lane, incarnation, watermark },
  );
}

/** Corrects the recorded watermark: a lane whose log still existed continues from the log. */
async function noteBeginning(
  ctx: CatalogDeps,
  table: Table,
  lane: number,
  { incarnation, watermark }: { incarnation: string; watermark: number },
): Promise<void> {
  await ctx.postgres.rows(
    `update lanes set watermark = $watermark
      where dataset = $dataset and name = $name and life = $life and lane = $lane and incarnation = $incarnation and watermark <> $watermark`,
    { dataset: table.dataset, name: table.name, life: table.life, lane, incarnation, watermark },
  );
}
