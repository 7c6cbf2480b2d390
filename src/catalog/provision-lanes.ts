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

const roundsMax = 5;

/**
 * Makes a table's lanes known to the hot buffer: at its creation, and again when the buffer has lost them. A lane goes on
 * after the greatest sequence that ClickHouse has of it.
 *
 * @throws LifeEndedError for a table that was dropped meanwhile, which is not made again; StoreError when Postgres or ClickHouse
 *   is unavailable: nothing may be staged before both have answered
 */
export async function setUpLanes(ctx: CatalogDeps, seen: Table): Promise<void> {
  for (let round = 0; round < roundsMax; round += 1) {
    // As many as there are by now: with fewer, rows that wait in the others would be in no answer.
    const table = await readTable(ctx, seen.dataset, seen.name);
    if (table?.physical !== seen.physical) throw new LifeEndedError(seen);
    // It may be taken apart at this moment, and what is made now would stay.
    if (table.state === 'deleting') throw notWritable(table.dataset, table.name, table.state);
    await ensureTable(ctx, table);
    await applyQuota(ctx, table.dataset);
    if (await setUpAll(ctx, table)) return;
  }
  throw new StoreError('postgres', `has kept changing table ${seen.name}`, undefined);
}

/**
 * All lanes as they are now, set up again if the hot buffer has lost them, or has failed over to before they were added.
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
 * Shows lanes again that a definition has, and that the hot buffer says there are not: it failed over to before they were
 * added. Whoever adds lanes at this moment comes to the same.
 *
 * @returns these lanes
 * @throws LifeEndedError; StoreError
 */
export async function restoreLanes(ctx: CatalogDeps, table: Table): Promise<LaneSnapshot[]> {
  const before = await snapshotTable(ctx, table, 'state');
  if (before === 'unknown' || before.lanes.length >= table.shards.length) return [];
  await setUpLanes(ctx, table);
  const { lanes: writers, shards } = (await readTable(ctx, table.dataset, table.name)) ?? table;
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

/** False when the table has changed since it was read: whether its lanes take rows, above all. */
async function setUpAll(ctx: CatalogDeps, table: Table): Promise<boolean> {
  const importing = await importOf(ctx, table);
  // Lane 0 last: it says how many there are, so that nobody is sent to one that is not there yet.
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
    // On record first: whoever sets the lane up after a loss must know that there was something to lose.
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
 * What an import under way has of the table's lanes: the buffer may have lost it. One that has chosen its sequences and not
 * taken them has no rows there, and others may.
 */
async function importOf(ctx: CatalogDeps, { dataset, name, life }: Table): Promise<ImportSeal | undefined> {
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
 * The sequence to go on after. An insert of a seal that the buffer has forgotten may still be on its way: its sequences
 * end at most one seal beyond what ClickHouse shows, so those are left out. They must not be given to other batches.
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

/** Where the log was still there, the lane has begun elsewhere than was reckoned with. */
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
