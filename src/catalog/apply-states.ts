import * as z from 'zod';
import { setQuota } from '../buffer/quota.ts';
import { setStates, type TableState } from '../buffer/set-states.ts';
import { physicalName } from '../core/identifiers.ts';
import { effectiveState, states } from '../schema/table-state.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { Params } from '../stores/postgres/client.ts';
import type { CatalogDeps } from './deps.ts';
import { readTable } from './find-table.ts';
import { raiseRevision } from './raise-revision.ts';
import { knownTables } from './table-cache.ts';

const tableStateRow = z.object({
  dataset: z.string(),
  name: z.string(),
  life: z.number(),
  version: z.number(),
  revision: z.number(),
  readLanes: z.number(),
  state: z.enum(states),
});

/** So that one step has a few hundred lanes at most, whatever a table has. */
const tablesAtOnce = 50;
const roundsMax = 5;

/**
 * Brings the hot buffer to what the catalogue records of a dataset's tables, or of one: from then on their lanes take rows
 * or not. Safe to repeat, and beside others that change it: the newest record holds.
 *
 * @returns how many lanes were not as recorded
 * @throws StoreError when a store is unavailable: the record stands, and asking again completes it
 */
export async function applyStates(ctx: CatalogDeps, dataset: string, name?: string): Promise<number> {
  return await applyAll(ctx, `t.dataset = $dataset and ($name::text is null or t.name = $name)`, {
    dataset,
    name: name ?? null,
  });
}

/**
 * The same of every table: somebody may have changed a record and died before its lanes heard of it.
 *
 * @throws StoreError
 */
export async function sweepStates(ctx: CatalogDeps): Promise<number> {
  const lanes = await applyAll(ctx, 'true', {});
  if (lanes > 0) ctx.log({ event: 'lane-states-swept', lanes });
  return lanes;
}

async function applyAll(ctx: CatalogDeps, which: string, params: Params): Promise<number> {
  let changed = 0;
  let after = { afterDataset: '', afterName: '' };
  for (;;) {
    const page = await recordedOf(ctx, `(t.dataset, t.name) > ($afterDataset, $afterName) and ${which}`, {
      ...after,
      ...params,
    });
    changed += await applyPage(ctx, page);
    const last = page.at(-1);
    if (last === undefined || page.length < tablesAtOnce) return changed;
    after = { afterDataset: last.dataset, afterName: last.name };
  }
}

async function applyPage(ctx: CatalogDeps, page: TableState[]): Promise<number> {
  let [changed, recorded] = [0, page];
  for (let round = 0; recorded.length > 0 && round < roundsMax; round += 1) {
    const applied = await setStates(ctx, recorded);
    changed += applied.changed;
    for (const { dataset, name } of recorded) knownTables(ctx).delete(`${dataset}.${name}`);
    // Somebody has changed the record since it was read, or it was set back in time and is brought forward by this.
    for (const { dataset, name } of applied.newer) await readTable(ctx, dataset, name);
    const names = applied.newer.map(({ dataset, name }) => ({ dataset, name }));
    recorded =
      names.length === 0
        ? []
        : await recordedOf(
            ctx,
            '(t.dataset, t.name) in (select dataset, name from jsonb_to_recordset($names::jsonb) as n(dataset text, name text))',
            { names: JSON.stringify(names) },
          );
  }
  return changed;
}

async function recordedOf(ctx: CatalogDeps, which: string, params: Params): Promise<TableState[]> {
  const rows = checkRows(
    tableStateRow,
    await ctx.postgres.rows(
      `select t.dataset, t.name, t.life, t.schema_version as version, t.revision,
            (t.definition->>'readLanes')::int as "readLanes", ${effectiveState} as state
       from tables t join datasets d on d.name = t.dataset
      where t.dropped_at is null and ${which} order by t.dataset, t.name limit ${tablesAtOnce}`,
      params,
    ),
  );
  return rows.map((row) => ({ ...row, physical: physicalName(row.name, row.life) }));
}

const applyQuotaRow = z.object({ revision: z.number(), quota: z.record(z.string(), z.number()).nullable() });

/** Brings the hot buffer to the quota that is on record of a dataset. */
export async function applyQuota(ctx: CatalogDeps, dataset: string): Promise<void> {
  const [recorded] = checkRows(
    applyQuotaRow,
    await ctx.postgres.rows('select revision, quota from datasets where name = $dataset', { dataset }),
  );
  if (recorded === undefined) return;
  const newer = await setQuota(ctx, dataset, recorded.revision, recorded.quota ?? {});
  if (newer > 0 && (await raiseRevision(ctx, dataset, newer))) await applyQuota(ctx, dataset);
}
