import { setQuota } from '../buffer/quota.ts';
import { setStates, type TableState } from '../buffer/set-states.ts';
import type { Context } from '../context.ts';
import { physicalName } from '../names.ts';
import { effectiveState } from './state.ts';

/** So that one step has a few hundred lanes at most, whatever a table has. */
const tablesAtOnce = 50;
const roundsMax = 5;

type Recorded = Omit<TableState, 'physical'>;

/**
 * Brings the hot buffer to what the catalogue has on record of a dataset's tables, or of one: from then on their lanes
 * take rows or not. Safe to repeat, and beside others that change it: the record that is there at the end holds.
 *
 * @throws StoreError when a store is away: the record stands, and asking again completes it
 */
export async function applyStates(ctx: Context, dataset: string, name?: string): Promise<void> {
  let after = '';
  for (;;) {
    const page = await recordedAfter(ctx, dataset, name, after);
    await applyPage(ctx, page);
    const last = page.at(-1);
    if (last === undefined || page.length < tablesAtOnce) return;
    after = last.name;
  }
}

async function applyPage(ctx: Context, page: Recorded[]): Promise<void> {
  let recorded = page;
  for (let round = 0; recorded.length > 0 && round < roundsMax; round += 1) {
    const tables = recorded.map((table) => ({ ...table, physical: physicalName(table.name, table.life) }));
    await setStates(ctx, tables);
    for (const { dataset, name } of tables) ctx.tables.delete(`${dataset}.${name}`);
    // Somebody may have changed the record since it was read, and have told the buffer before this did.
    const now = await recordedOf(ctx, recorded);
    recorded = now.filter(({ name, revision, life }) => {
      return recorded.some((was) => was.name === name && (was.revision !== revision || was.life !== life));
    });
  }
}

const columns = `t.dataset, t.name, t.life, t.schema_version as version, t.revision,
  (t.definition->>'readLanes')::int as "readLanes", ${effectiveState} as state`;

async function recordedAfter(
  ctx: Context,
  dataset: string,
  name: string | undefined,
  after: string,
): Promise<Recorded[]> {
  return await ctx.postgres.rows<Recorded>(
    `select ${columns} from tables t join datasets d on d.name = t.dataset
      where t.dataset = $1 and t.dropped_at is null and t.name > $2 and ($3::text is null or t.name = $3)
      order by t.name limit ${tablesAtOnce}`,
    [dataset, after, name ?? null],
  );
}

async function recordedOf(ctx: Context, tables: Recorded[]): Promise<Recorded[]> {
  const [first] = tables;
  if (first === undefined) return [];
  return await ctx.postgres.rows<Recorded>(
    `select ${columns} from tables t join datasets d on d.name = t.dataset
      where t.dataset = $1 and t.dropped_at is null and t.name = any($2)`,
    [first.dataset, tables.map(({ name }) => name)],
  );
}

/** Brings the hot buffer to the quota that is on record of a dataset. */
export async function applyQuota(ctx: Context, dataset: string): Promise<void> {
  const [recorded] = await ctx.postgres.rows<{ revision: number; quota: Record<string, number> | null }>(
    'select revision, quota from datasets where name = $1',
    [dataset],
  );
  if (recorded !== undefined) await setQuota(ctx, dataset, recorded.revision, recorded.quota ?? {});
}
