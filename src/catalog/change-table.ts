import * as z from 'zod';
import { changeLanes } from '../buffer/change-lanes.ts';
import { noteJob } from '../buffer/due.ts';
import { ApiError } from '../core/errors.ts';
import { notFound } from '../core/not-found.ts';
import type { Retention, Table } from '../schema/table.ts';
import type { State } from '../schema/table-state.ts';
import { checkRows } from '../stores/check-rows.ts';
import { epochMs, type Params } from '../stores/postgres/client.ts';
import { applyStates } from './apply-states.ts';
import { auditLine } from './audit-log/statement.ts';
import { changedSince, sourceGone } from './datasets.ts';
import type { CatalogDeps } from './deps.ts';
import { cancelDrop, scheduleDrop } from './drop-job.ts';
import { applyRetention } from './ensure-table.ts';
import { noteLanes, readTable } from './find-table.ts';
import { placeLanes, spreadLanes } from './place-lanes.ts';
import { setUpLanes } from './provision-lanes.ts';

export type TableChange = {
  /** Number of lanes for writers; `spread`: enough for one lane on every shard. */
  lanes?: number | 'spread' | undefined;
  /** Null keeps rows for ever; `inherit` uses the retention of the dataset. */
  retention?: Retention | null | 'inherit' | undefined;
  state?: Exclude<State, 'deleting'> | undefined;
};

/** The expected version of a table for a conditional change. */
export type Version = { life: number; revision: number; schemaVersion: number };

/** The `ETag` of a version. */
export function tableTag({ life, revision, schemaVersion }: Version): string {
  return `"${life}.${revision}.${schemaVersion}"`;
}

export function versionOf({ life, revision, schema }: Table): Version {
  return { life, revision, schemaVersion: schema.version };
}

/**
 * Changes an existing table. All steps are idempotent, so a repetition completes a change that broke off.
 *
 * @param expected the required version, if any
 * @throws ApiError `not-found`, `precondition-failed`, `conflict` if the table is being dropped; StoreError if a required store
 *   is unavailable
 */
export async function changeTable(
  ctx: CatalogDeps,
  dataset: string,
  name: string,
  change: TableChange,
  expected?: Version,
): Promise<Table> {
  await recordChange(ctx, dataset, name, change, expected);
  if (change.state !== undefined) await applyStates(ctx, dataset, name);
  const table = await requireTable(ctx, dataset, name);
  if (change.retention !== undefined) await applyRetention(ctx, table);
  if (change.lanes === undefined) return table;
  // First the lanes, then their number, from which on writers and readers use them.
  let changed: Awaited<ReturnType<typeof changeLanes>>;
  do {
    await setUpLanes(ctx, table);
    changed = await changeLanes(ctx, table, table.lanes, table.lanes);
  } while (changed === 'unknown');
  if (changed === 'importing') {
    throw new ApiError(
      'conflict',
      `An import uses a lane of table ${name} of dataset ${dataset}. The number of lanes is recorded; repeat the change when the import is done.`,
    );
  }
  return noteLanes(ctx, table, table.lanes, table.readLanes);
}

const rounds_max = 5;

async function recordChange(
  ctx: CatalogDeps,
  dataset: string,
  name: string,
  change: TableChange,
  expected: Version | undefined,
): Promise<void> {
  for (let round = 1; ; round += 1) {
    const seen = change.lanes === undefined ? undefined : await requireTable(ctx, dataset, name);
    const placed = seen && choosePlacement(ctx, seen, change.lanes);
    const { lanes_max } = ctx.config.limits;
    if (placed !== undefined && placed.lanes > lanes_max) {
      throw new ApiError('invalid-request', `lanes: at most ${lanes_max} (limit lanes_max).`);
    }
    if (await recordOnce(ctx, dataset, name, { ...change, ...placed }, expected, seen?.readLanes)) return;
    // A concurrent change has added lanes since their placement was computed.
    const now = seen && (await requireTable(ctx, dataset, name));
    if (now?.readLanes === seen?.readLanes || round === rounds_max)
      throw await explainRejection(ctx, dataset, name, expected);
  }
}

function choosePlacement(
  ctx: CatalogDeps,
  table: Table,
  wanted: TableChange['lanes'],
): { lanes: number; shards: number[] } {
  if (wanted === 'spread') return spreadLanes(ctx, table);
  const lanes = wanted ?? table.lanes;
  return { lanes, shards: placeLanes(ctx, table, table.shards, lanes) };
}

type Recorded = Omit<TableChange, 'lanes'> & { lanes?: TableChange['lanes']; shards?: number[] };

/** One statement, so that no concurrent change is lost. Returns false if the table does not have the expected version. */
async function recordOnce(
  ctx: CatalogDeps,
  dataset: string,
  name: string,
  { lanes, shards, retention, state }: Recorded,
  expected: Version | undefined,
  readLanes: number | undefined,
): Promise<boolean> {
  const params: Params = {
    dataset,
    name,
    life: expected?.life ?? null,
    revision: expected?.revision ?? null,
    schemaVersion: expected?.schemaVersion ?? null,
    lanes: lanes ?? null,
    retention: retention === undefined ? null : JSON.stringify(retention),
    state: state ?? null,
    readLanes: readLanes ?? null,
    shards: shards === undefined ? null : JSON.stringify(shards),
  };
  const line = auditLine(
    { action: 'table.change', dataset, table: name, detail: { lanes, retention, state } },
    'changed',
    params,
  );
  const [changed] = await ctx.postgres.rows(
    `with changed as (
       update tables set revision = revision + 1, state = coalesce($state, state),
              delete_at = case when $state::text is null then delete_at end,
              definition = case
                  when $retention::jsonb = '"inherit"' then definition - 'retention'
                  when $retention::jsonb is null then definition
                  else definition || jsonb_build_object('retention', $retention::jsonb) end
                || case when $lanes::int is null then '{}' else jsonb_build_object('lanes', $lanes::int,
                     'readLanes', greatest((definition->>'readLanes')::int, $lanes::int), 'shards', $shards::jsonb) end
        where dataset = $dataset and name = $name and dropped_at is null and ($life::int is null or life = $life)
          and ($revision::int is null or revision = $revision) and ($schemaVersion::int is null or schema_version = $schemaVersion)
          and ($readLanes::int is null or (definition->>'readLanes')::int = $readLanes)
          -- Once it is being taken apart nothing brings it back.
          and not (state = 'deleting' and delete_at is null)
       returning name),
     cancelled as (${cancelDrop('changed', '$state::text is not null', `dataset = $dataset and "table" = $name`)}),
     line as (${line})
     select name from changed`,
    params,
  );
  return changed !== undefined;
}

const deleteTableRow = z.object({ deleteAt_ms: z.number() });

/** Hides a table at once and schedules its drop after the grace period. Throws as `changeTable`. */
export async function deleteTable(
  ctx: CatalogDeps,
  dataset: string,
  name: string,
  grace_s: number,
  expected?: Version,
): Promise<{ deleteAt_ms: number }> {
  const params: Params = {
    dataset,
    name,
    life: expected?.life ?? null,
    revision: expected?.revision ?? null,
    schemaVersion: expected?.schemaVersion ?? null,
    grace_s,
  };
  const line = auditLine({ action: 'table.delete', dataset, table: name, detail: { grace_s } }, 'changed', params);
  const [changed] = checkRows(
    deleteTableRow,
    await ctx.postgres.rows(
      `with changed as (
       update tables set revision = revision + 1, state = 'deleting', delete_at = now() + make_interval(secs => $grace_s)
        where dataset = $dataset and name = $name and dropped_at is null and ($life::int is null or life = $life)
          and ($revision::int is null or revision = $revision) and ($schemaVersion::int is null or schema_version = $schemaVersion)
       returning name, delete_at),
     cancelled as (${cancelDrop('changed', 'true', `dataset = $dataset and "table" = $name`)}),
     job as (${scheduleDrop('drop-table', 'changed', '$dataset', '$name', ctx.config.TIMESTORE_KEY_PREFIX, params)}),
     line as (${line})
     select ${epochMs('delete_at')} as "deleteAt_ms" from changed`,
      params,
    ),
  );
  if (changed === undefined) throw await explainRejection(ctx, dataset, name, expected);
  await applyStates(ctx, dataset, name);
  await noteJob(ctx, ctx.now() + grace_s * 1_000);
  return changed;
}

async function explainRejection(
  ctx: CatalogDeps,
  dataset: string,
  name: string,
  expected: Version | undefined,
): Promise<ApiError> {
  const table = await requireTable(ctx, dataset, name);
  const now = tableTag(versionOf(table));
  const what = `Table ${name} of dataset ${dataset}`;
  return expected !== undefined && tableTag(expected) !== now
    ? changedSince(what, tableTag(expected), now)
    : sourceGone(what);
}

/** The recorded table. Throws ApiError `not-found`; StoreError. */
export async function requireTable(ctx: CatalogDeps, dataset: string, name: string): Promise<Table> {
  const table = await readTable(ctx, dataset, name);
  if (table !== undefined) return table;
  throw notFound({ dataset, table: name });
}
