import * as z from 'zod';
import { snapshotTable } from '../../buffer/snapshot.ts';
import { applyStates } from '../../catalog/apply-states.ts';
import { ensureTable } from '../../catalog/ensure-table.ts';
import { readTable } from '../../catalog/find-table.ts';
import { drainManifestOutbox } from '../../catalog/manifest-outbox.ts';
import { restoreLanes } from '../../catalog/provision-lanes.ts';
import {
  addColumnsAt,
  applyRetentionAt,
  isSameType,
  rememberedTokens,
  ttlExpressions,
} from '../../catalog/table-ddl.ts';
import { qualifiedName, quoteString } from '../../core/identifiers.ts';
import { describeError } from '../../core/log.ts';
import { catchUpLanes } from '../../flush/catch-up.ts';
import { retainedFrom_ms, type Table } from '../../schema/table.ts';
import { clickhouseType } from '../../schema/types.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { everyNode } from '../../stores/clickhouse/servers.ts';
import { toJsonb } from '../../stores/postgres/jsonb.ts';
import type { OperationDeps, OperationNode } from '../deps.ts';
import { showHiddenImports } from '../import/show-hidden.ts';
import { releaseStaleMark } from './change-mark.ts';
import { foldExpired } from './fold-expired.ts';

/** Something that is not as the catalogue says, and whether it is by now. */
export type Drift = {
  what:
    | 'table-missing'
    | 'columns-missing'
    | 'column-type'
    | 'column-unknown'
    | 'retention'
    | 'storage-policy'
    | 'insert-tokens'
    | 'manifests-expired'
    | 'import-hidden'
    | 'rows-hidden'
    | 'change-mark'
    | 'lane-states';
  detail: string;
  mended: boolean;
};

export type Reconciled = { dataset: string; table: string; drift: Drift[] };

const reconcileTableRow = z.object({ engine: z.string(), ttl: z.string(), policy: z.string() });

/**
 * Compares a table of the catalogue with ClickHouse's, and mends what can be mended without losing anything: missing
 * columns, the retention, the storage policy; a table that is not there only if no row of it is on record. The rest is
 * reported. What was found is on record afterwards.
 *
 * @throws StoreError, ClickHouseError when a store is away: nothing is concluded then
 */
export async function reconcileTable(ctx: OperationDeps, table: Table): Promise<Reconciled> {
  const drift: Drift[] = [];
  const { dataset, name } = table;
  drift.push(...(await statesOf(ctx, table)));
  let isThere = true;
  for (const node of everyNode(ctx)) {
    const [found] = checkRows(
      reconcileTableRow,
      await node.clickhouse.rows(
        `SELECT engine_full AS engine, extract(engine_full, ' TTL (.*?)(?: SETTINGS |$)') AS ttl, storage_policy AS policy
         FROM system.tables WHERE database = {database:String} AND name = {table:String}`,
        { database: `ts_${dataset}`, table: table.physical },
      ),
    );
    const where = ctx.cluster === undefined ? [] : [node];
    if (found === undefined) {
      isThere = false;
      drift.push(on(await tableMissing(node, table), ...where));
      continue;
    }
    const others = [
      ...(await columnsOf(node, table)),
      ...(await retentionOf(node, table, found.ttl)),
      ...(await policyOf(node, table, found.policy)),
      ...(await tokensOf(node, table, found.engine)),
    ];
    drift.push(...others.map((each) => on(each, ...where)));
  }
  if (isThere) drift.push(...(await expiredOf(ctx, table)));
  drift.push(...(await hiddenRows(ctx, table)));
  drift.push(...(await markOf(ctx, table)));
  await record(ctx, table, drift);
  const left = drift.filter(({ mended }) => !mended);
  if (left.length > 0) ctx.log({ event: 'drift', alarm: true, dataset, table: name, drift: left });
  return { dataset, table: name, drift };
}

/** The same, with the shard that it is about. */
function on(drift: Drift, at?: OperationNode): Drift {
  return at === undefined ? drift : { ...drift, detail: `shard ${at.shard}: ${drift.detail}` };
}

const tableMissingRow = z.object({ rows: z.string() });

async function tableMissing(node: OperationNode, table: Table): Promise<Drift> {
  await drainManifestOutbox(node);
  const lanes = [...table.shards.keys()].filter((lane) => table.shards[lane] === node.shard);
  const [said] = checkRows(
    tableMissingRow,
    await node.postgres.rows(
      `select coalesce(sum(rows), 0) as rows from manifests
      where dataset = $dataset and physical_table = $physical and lane = any($lanes)`,
      { dataset: table.dataset, physical: table.physical, lanes },
    ),
  );
  const rows = Number(said?.rows);
  const what = 'table-missing';
  if (rows > 0)
    return {
      what,
      mended: false,
      detail: `ClickHouse has no table ${table.physical}, of which ${rows} rows are on record`,
    };
  await ensureTable(node, table, [node.shard]);
  return { what, mended: true, detail: `ClickHouse had no table ${table.physical}; no row of it is on record` };
}

const columnsOfRow = z.object({ name: z.string(), type: z.string() });

async function columnsOf(node: OperationNode, table: Table): Promise<Drift[]> {
  const columns = checkRows(
    columnsOfRow,
    await node.clickhouse.rows(
      `SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String}
        AND NOT startsWith(name, '_')`,
      { database: `ts_${table.dataset}`, table: table.physical },
    ),
  );
  const there = new Map(columns.map(({ name, type }) => [name, type]));
  const { fields } = table.schema;
  const missing = fields.filter(({ name }) => !there.has(name)).map(({ name }) => name);
  const drift: Drift[] = [];
  if (missing.length > 0) {
    await addColumnsAt(node, table);
    drift.push({ what: 'columns-missing', mended: true, detail: `added ${missing.join(', ')}` });
  }
  for (const field of fields) {
    const [wanted, is] = [clickhouseType(field, table.schema), there.get(field.name)];
    if (is === undefined || isSameType(is, wanted)) continue;
    const detail = `${field.name} is ${is}, not ${wanted}: flushes of the table wait until it is back`;
    drift.push({ what: 'column-type', mended: false, detail });
  }
  const known = new Set(fields.map(({ name }) => name));
  const others = columns.filter(({ name }) => !known.has(name)).map(({ name }) => name);
  // A field that was added while this looked is in the next version, and no drift.
  const newest = others.length === 0 ? undefined : await readTable(node, table.dataset, table.name);
  const added = new Set(newest?.schema.fields.map(({ name }) => name));
  const unknown = others.filter((name) => !added.has(name));
  if (unknown.length > 0) {
    drift.push({ what: 'column-unknown', mended: false, detail: `${unknown.join(', ')}: no field has that name` });
  }
  return drift;
}

/** As ClickHouse tells it again: names without quotes where they need none, DELETE left out. */
function normalized(ttl: string): string {
  return ttl
    .replaceAll('`', '')
    .replace(/ DELETE\b/g, '')
    .replace(/\s+/g, ' ')
    .trim();
}

async function retentionOf(node: OperationNode, table: Table, ttl: string): Promise<Drift[]> {
  const wanted = ttlExpressions(table).join(', ');
  if (normalized(wanted) === normalized(ttl)) return [];
  await applyRetentionAt(node, table);
  return [{ what: 'retention', mended: true, detail: `it was “${ttl || 'none'}”, and is “${wanted || 'none'}”` }];
}

async function policyOf(node: OperationNode, table: Table, policy: string): Promise<Drift[]> {
  const wanted = node.config.CLICKHOUSE_STORAGE_POLICY;
  if (wanted === undefined || wanted === policy) return [];
  const detail = `it is ${policy}, not ${wanted}`;
  try {
    // ClickHouse takes one that has all the volumes of the one before.
    await node.clickhouse.command(
      `ALTER TABLE ${qualifiedName(table)} MODIFY SETTING storage_policy = ${quoteString(wanted)}`,
    );
    return [{ what: 'storage-policy', mended: true, detail }];
  } catch (error) {
    node.log({ event: 'storage-policy-refused', dataset: table.dataset, table: table.name, ...describeError(error) });
    return [{ what: 'storage-policy', mended: false, detail: `${detail}, and ClickHouse does not change it` }];
  }
}

/** Where too few are remembered, or not long enough, an insert that comes late is stored again. */
async function tokensOf(node: OperationNode, table: Table, engine: string): Promise<Drift[]> {
  const wanted = rememberedTokens(node, await node.clickhouseKind());
  const others = wanted.filter((setting) => !`${engine},`.includes(`${setting},`));
  if (others.length === 0) return [];
  await node.clickhouse.command(`ALTER TABLE ${qualifiedName(table)} MODIFY SETTING ${wanted.join(', ')}`);
  return [{ what: 'insert-tokens', mended: true, detail: `set ${others.join(', ')}` }];
}

async function expiredOf(ctx: OperationDeps, table: Table): Promise<Drift[]> {
  const from_ms = retainedFrom_ms(table, ctx.now());
  if (from_ms === undefined) return [];
  await drainManifestOutbox(ctx);
  const folded = await foldExpired(ctx, table, from_ms);
  if (folded === 0) return [];
  return [{ what: 'manifests-expired', mended: true, detail: `${folded} manifests of rows that are gone were folded` }];
}

/** What is in ClickHouse and does not show: the hot buffer failed over, and has forgotten that it was published. */
async function hiddenRows(ctx: OperationDeps, table: Table): Promise<Drift[]> {
  const forgotten = await restoreLanes(ctx, table);
  const imports = await showHiddenImports(ctx, table);
  const snapshot = await snapshotTable(ctx, table, 'state');
  const caughtUp = snapshot === 'unknown' ? [] : await catchUpLanes(ctx, table, snapshot.lanes);
  const lanes = [...forgotten.map(({ lane, watermark }) => ({ lane, from: 1, to: watermark })), ...caughtUp];
  return [
    ...imports.map((id) => ({ what: 'import-hidden' as const, detail: `import ${id} was done and did not show` })),
    ...lanes.map(({ lane, from, to }) => ({
      what: 'rows-hidden' as const,
      detail: `lane ${lane}: the hot buffer had forgotten that sequences ${from} to ${to} were published`,
    })),
  ].map((each) => ({ ...each, mended: true }));
}

/** Whether a mark that rows are being changed, by which further pages are refused, is of a job that is over. */
async function markOf(ctx: OperationDeps, table: Table): Promise<Drift[]> {
  const stale = await releaseStaleMark(ctx, table);
  if (stale === undefined) return [];
  const { job, isReleased } = stale;
  const rest = isReleased ? '' : ', and ClickHouse still has rows to change';
  const detail = `further pages were refused for job ${job}, which is over${rest}`;
  return [{ what: 'change-mark', mended: isReleased, detail }];
}

/** Whether its lanes take rows: whoever has changed that may have died before they heard of it. */
async function statesOf(ctx: OperationDeps, { dataset, name }: Table): Promise<Drift[]> {
  const lanes = await applyStates(ctx, dataset, name);
  if (lanes === 0) return [];
  return [{ what: 'lane-states', mended: true, detail: `${lanes} lanes took rows, or took none, against the record` }];
}

async function record(ctx: OperationDeps, { dataset, name, life }: Table, drift: Drift[]): Promise<void> {
  await ctx.postgres.rows(
    `insert into reconciliations (dataset, name, drift, life) values ($dataset, $name, $drift::jsonb, $life)
     on conflict (dataset, name) do update
       set reconciled_at = now(), drift = excluded.drift, life = excluded.life where reconciliations.life <= excluded.life`,
    { dataset, name, drift: toJsonb(drift), life },
  );
}
