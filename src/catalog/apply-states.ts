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

/** Keeps a script call at a few hundred lanes. */
const tablesAtOnce = 50;
const rounds_max = 5;

/**
 * Applies the recorded states of a dataset's tables, or of one table, to their lanes in the hot buffer. Idempotent and safe to
 * run concurrently: the newest record wins.
 *
 * @returns the number of lanes that differed from the record
 * @throws StoreError if a store is unavailable; a repetition completes the change
 */
export async function applyStates(ctx: CatalogDeps, dataset: string, name?: string): Promise<number> {
  return await applyAll(ctx, `t.dataset = $dataset and ($name::text is null or t.name = $name)`, {
    dataset,
    name: name ?? null,
  });
}

/**
 * Applies the states of all tables, because a request may have crashed between the record and the lanes.
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
    const page = await readStates(ctx, `(t.dataset, t.name) > ($afterDataset, $afterName) and ${which}`, {
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
  for (let round = 0; recorded.length > 0 && round < rounds_max; round += 1) {
    const applied = await setStates(ctx, recorded);
    changed += applied.changed;
    for (const { dataset, name } of recorded) knownTables(ctx).delete(`${dataset}.${name}`);
    // A concurrent request has changed the record, or the catalogue was restored from an older state, which readTable repairs.
    for (const { dataset, name } of applied.newer) await readTable(ctx, dataset, name);
    const names = applied.newer.map(({ dataset, name }) => ({ dataset, name }));
    recorded =
      names.length === 0
        ? []
        : await readStates(
            ctx,
            '(t.dataset, t.name) in (select dataset, name from jsonb_to_recordset($names::jsonb) as n(dataset text, name text))',
            { names: JSON.stringify(names) },
          );
  }
  return changed;
}

async function readStates(ctx: CatalogDeps, which: string, params: Params): Promise<TableState[]> {
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

/** Applies the recorded quota of a dataset to the hot buffer. */
export async function applyQuota(ctx: CatalogDeps, dataset: string): Promise<void> {
  const [recorded] = checkRows(
    applyQuotaRow,
    await ctx.postgres.rows('select revision, quota from datasets where name = $dataset', { dataset }),
  );
  if (recorded === undefined) return;
  const newer = await setQuota(ctx, dataset, recorded.revision, recorded.quota ?? {});
  if (newer > 0 && (await raiseRevision(ctx, dataset, newer))) await applyQuota(ctx, dataset);
}
