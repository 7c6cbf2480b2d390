import * as z from 'zod';
import { readTable } from '../../catalog/find-table.ts';
import { atLane } from '../../catalog/lane-location.ts';
import { knownLanes } from '../../catalog/provision-lanes.ts';
import { quarantineTable } from '../../catalog/quarantine-table.ts';
import { requireFirstRow } from '../../core/errors.ts';
import { qualifiedName } from '../../core/identifiers.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { fromJsonb } from '../../stores/postgres/jsonb.ts';
import type { OperationDeps } from '../deps.ts';
import { readMirrorBeginning } from './mirror.ts';
import { mirrorJob } from './mirror-progress.ts';
import { overtakenRows, type Place, unsentSql } from './mirror-rows.ts';

/** Progress of a mirror. */
export type MirrorState = {
  /** Accepted rows that the source system does not have, including those in the hot buffer. */
  behindRows: number;
  /** Age of the oldest of these rows; null without such rows. */
  oldestAge_ms: number | null;
  /** Lanes that an operator has to repair. */
  stoppedLanes: number;
  /** Why the source system did not accept the last request; null if it did. */
  error: string | null;
};

const takeoverRow = z.object({ since: z.number() });

const mirrorJobRow = z.object({
  table: z.string(),
  progress: z.record(z.string(), z.unknown()).nullable(),
  error: z.string().nullable(),
});

/**
 * Progress of the mirror of a dataset; undefined without a mirror. Once writes have stopped and `behindRows` is 0, the
 * source system has all rows.
 *
 * @throws StoreError
 */
export async function readMirrorState(ctx: OperationDeps, dataset: string): Promise<MirrorState | undefined> {
  const [on] = checkRows(
    takeoverRow,
    await ctx.postgres.rows(
      `select (migration->>'since')::int as since from datasets where name = $dataset and (migration->>'mirror')::boolean`,
      { dataset },
    ),
  );
  if (on === undefined) return undefined;
  const jobs = checkRows(
    mirrorJobRow,
    await ctx.postgres.rows(
      `select t.name as table, j.progress, j.error from tables t
       left join jobs j on j.kind = 'mirror' and j.dataset = t.dataset and j."table" = t.name
        and j.request->>'since' = $since and (j.progress->>'life')::int = t.life
      where t.dataset = $dataset and t.dropped_at is null and t.name <> $quarantineTable`,
      { dataset, since: String(on.since), quarantineTable },
    ),
  );
  const all: MirrorState = { behindRows: 0, oldestAge_ms: null, stoppedLanes: 0, error: null };
  for (const { table: name, progress, error } of jobs) {
    const table = await readTable(ctx, dataset, name);
    if (table === undefined || table.state === 'deleting') continue;
    const lanes = progress === null ? {} : mirrorJob.progress.parse(fromJsonb(progress)).lanes;
    all.stoppedLanes += Object.values(lanes).filter(({ stopped }) => stopped !== undefined).length;
    all.error ??= error;
    for (const { lane, watermark, pendingRows, oldest_ms } of (await knownLanes(ctx, table)).lanes) {
      const { at, at_ms, sent = [] } = lanes[lane] ?? { at: await readMirrorBeginning(ctx, table, lane) };
      const none = { rows: 0, oldest_ms: undefined };
      const published = at >= watermark ? none : await countBehind(ctx, { table, lane, after: at, sent }, watermark);
      const overtaken =
        at_ms === undefined ? undefined : await overtakenRows(ctx, table, lane, { to: at, ms: at_ms }, watermark);
      const behind = [published, overtaken ?? none, { rows: pendingRows, oldest_ms }].filter(({ rows }) => rows > 0);
      const oldest = behind.flatMap((each) => each.oldest_ms ?? []);
      all.behindRows += behind.reduce((sum, { rows }) => sum + rows, 0);
      for (const each of oldest) all.oldestAge_ms = Math.max(all.oldestAge_ms ?? 0, ctx.now() - each);
    }
  }
  return all;
}

const importedRangeRow = z.object({ from: z.string(), to: z.string() });

const unsentRow = z.object({ rows: z.string(), oldest_ms: z.string() });

async function countBehind(ctx: OperationDeps, { table, lane, after: at, sent }: Place, end: number) {
  const imports = checkRows(
    importedRangeRow,
    await ctx.postgres.rows(
      `select seq_from as from, seq_to as to from manifests
      where dataset = $dataset and physical_table = $physical and lane = $lane and trigger = 'import' and seq_to > $at and seq_from <= $end`,
      { dataset: table.dataset, physical: table.physical, lane, at, end },
    ),
  );
  const others = imports.map(({ from, to }) => ` AND NOT (_seq BETWEEN ${Number(from)} AND ${Number(to)})`);
  const { clickhouse } = await atLane(ctx, table, lane);
  const counted = checkRows(
    unsentRow,
    await clickhouse.rows(
      `SELECT count() AS rows, toUnixTimestamp64Milli(min(_received_at)) AS oldest_ms FROM ${qualifiedName(table)}
      WHERE _lane = {lane:UInt16} AND _seq > {at:UInt64} AND _seq <= {end:UInt64} AND ${unsentSql(sent)}${others.join('')}`,
      { lane, at, end },
    ),
  );
  const found = requireFirstRow('clickhouse', counted);
  const rows = Number(found.rows);
  return { rows, oldest_ms: rows === 0 ? undefined : Number(found.oldest_ms) };
}
