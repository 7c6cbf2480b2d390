import { auditLine } from '../../catalog/audit-log/statement.ts';
import { changeTable } from '../../catalog/change-table.ts';
import { createTable } from '../../catalog/create-table.ts';
import { evolveSchema } from '../../catalog/evolve-schema.ts';
import { readTable } from '../../catalog/find-table.ts';
import { setUpLanes } from '../../catalog/provision-lanes.ts';
import { ApiError } from '../../core/errors.ts';
import type { Table } from '../../schema/table.ts';
import { notWritable } from '../../schema/table-state.ts';
import type { Params } from '../../stores/postgres/client.ts';
import type { MonitoringDeps } from '../deps.ts';
import { type Difference, differencesOf, missingFields } from './differences.ts';
import { ownNames } from './sql-tables.ts';
import { type RowTable, retention, rowTables, schemaOf, window } from './tables.ts';

export type SetUpResult = {
  dataset: string;
  /** Tables that did not exist. */
  created: string[];
  /** Changes of existing tables, as `<table>: <change>`. */
  changed: string[];
  /** Differences that the set-up leaves, because a change would delete rows. */
  left: Difference[];
};

/**
 * Makes the tables of a monitored dataset. A repetition changes only what differs; a table that has other columns than the set-up
 * would make is an error before anything is changed.
 *
 * @throws ApiError `conflict` with the differences, `dataset-frozen`, `limit-exceeded`; StoreError
 */
export async function setUpMonitoring(ctx: MonitoringDeps, dataset: string): Promise<SetUpResult> {
  const names = [...rowTables, ...ownNames.map(({ name }) => name)];
  const found = await Promise.all(names.map(async (name) => ({ name, table: await readTable(ctx, dataset, name) })));
  const known = new Map(found.map(({ name, table }) => [name, table]));
  requirePossible(ctx, dataset, known);
  await recordDataset(ctx, dataset);
  const result: SetUpResult = { dataset, created: [], changed: [], left: [] };
  for (const name of rowTables) {
    const table = known.get(name);
    if (table !== undefined) await changeExisting(ctx, table, name, result);
    else if (await createOne(ctx, dataset, name)) result.created.push(name);
  }
  return result;
}

/** Throws ApiError for differences that no change removes. */
function requirePossible(ctx: MonitoringDeps, dataset: string, known: Map<string, Table | undefined>): void {
  const [taken] = ownNames.filter(({ name }) => known.get(name) !== undefined);
  if (taken !== undefined) {
    throw new ApiError(
      'conflict',
      `Dataset ${dataset} has a table ${taken.name} of its own, and a monitored dataset shows its configuration under that name. ` +
        'Use another dataset, or delete the table.',
    );
  }
  const lasting = rowTables.flatMap((name) => {
    const table = known.get(name);
    if (table === undefined) return [];
    if (table.state !== 'active') throw notWritable(dataset, name, table.state);
    return differencesOf(table, name, ctx.config.limits).filter(({ isLasting }) => isLasting);
  });
  if (lasting.length === 0) return;
  const list = lasting.map(({ table, column, what, expected, actual }) => {
    return `${table}${column === null ? '' : `.${column}`}: ${what} is ${actual}, not ${expected}`;
  });
  throw new ApiError('conflict', `Tables of dataset ${dataset} differ in what cannot be changed: ${list.join('; ')}.`, {
    extra: { differences: lasting },
  });
}

async function createOne(ctx: MonitoringDeps, dataset: string, name: RowTable): Promise<boolean> {
  const schema = schemaOf(name, ctx.config.limits);
  const lanes = ctx.config.limits.lanes_default;
  const table = await createTable(ctx, { dataset, name, window, lanes, schema, retention });
  await setUpLanes(ctx, table);
  return table.isNew;
}

async function changeExisting(ctx: MonitoringDeps, table: Table, name: RowTable, result: SetUpResult): Promise<void> {
  let current = table;
  for (let missing = missingFields(current, name, ctx.config.limits); missing.length > 0; ) {
    // Another writer may add fields at the same time.
    const newest = await evolveSchema(ctx, current, missing);
    if (newest === undefined) throw new ApiError('conflict', `Table ${name} was dropped meanwhile. Try again.`);
    if (newest.state !== 'active') throw notWritable(newest.dataset, name, newest.state);
    current = newest;
    const added = missing.map((field) => field.name).join(', ');
    missing = missingFields(current, name, ctx.config.limits);
    if (missing.length === 0) result.changed.push(`${name}: added ${added}`);
  }
  const days = current.retention?.totalDays ?? Number.POSITIVE_INFINITY;
  if (days < retention.totalDays) {
    await changeTable(ctx, current.dataset, name, { retention: { ...current.retention, ...retention } });
    result.changed.push(`${name}: retention ${retention.totalDays} days`);
  }
  // A shorter retention would delete rows.
  if (days > retention.totalDays) result.left.push(...differencesOf(current, name, ctx.config.limits));
}

/** From now on the dataset is monitored. */
async function recordDataset(ctx: MonitoringDeps, dataset: string): Promise<void> {
  const params: Params = { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset };
  const line = auditLine({ action: 'monitor.set-up', dataset }, 'made', params);
  await ctx.postgres.rows(
    `with made as (insert into monitor_datasets (buffer, dataset) values ($buffer, $dataset)
                   on conflict do nothing returning dataset)
     ${line}`,
    params,
  );
}
