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

/** A difference from the catalogue, and whether it is repaired (`mended`). */
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
 * Compares a table with the catalogue, and repairs what can be repaired without data loss: missing columns, the retention,
 * the storage policy, and a missing table if no rows of it are recorded. Reports all other differences. Records the result.
 *
 * @throws StoreError, ClickHouseError when a store is unavailable, without a result
 */
export async function reconcileTable(ctx: OperationDeps, table: Table): Promise<Reconciled> {
  const drift: Drift[] = [];
  const { dataset, name } = table;
  drift.push(...(await reconcileStates(ctx, table)));
  let isOnAllNodes = true;
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
      isOnAllNodes = false;
      drift.push(addShard(await reconcileMissingTable(node, table), ...where));
      continue;
    }
    const others = [
      ...(await reconcileColumns(node, table)),
      ...(await reconcileRetention(node, table, found.ttl)),
      ...(await reconcilePolicy(node, table, found.policy)),
      ...(await reconcileTokens(node, table, found.engine)),
    ];
    drift.push(...others.map((each) => addShard(each, ...where)));
  }
  if (isOnAllNodes) drift.push(...(await foldExpiredManifests(ctx, table)));
  drift.push(...(await showHiddenRows(ctx, table)));
  drift.push(...(await reconcileMark(ctx, table)));
  await record(ctx, table, drift);
  const remaining = drift.filter(({ mended }) => !mended);
  if (remaining.length > 0) ctx.log({ event: 'drift', alarm: true, dataset, table: name, drift: remaining });
  return { dataset, table: name, drift };
}

function addShard(drift: Drift, node?: OperationNode): Drift {
  return node === undefined ? drift : { ...drift, detail: `shard ${node.shard}: ${drift.detail}` };
}

const tableMissingRow = z.object({ rows: z.string() });

async function reconcileMissingTable(node: OperationNode, table: Table): Promise<Drift> {
  await drainManifestOutbox(node);
  const lanes = [...table.shards.keys()].filter((lane) => table.shards[lane] === node.shard);
  const [recorded] = checkRows(
    tableMissingRow,
    await node.postgres.rows(
      `select coalesce(sum(rows), 0) as rows from manifests
      where dataset = $dataset and physical_table = $physical and lane = any($lanes)`,
      { dataset: table.dataset, physical: table.physical, lanes },
    ),
  );
  const rows = Number(recorded?.rows);
  const what = 'table-missing';
  if (rows > 0)
    return {
      what,
      mended: false,
      detail: `table ${table.physical} does not exist in ClickHouse, but ${rows} rows of it are recorded`,
    };
  await ensureTable(node, table, [node.shard]);
  return {
    what,
    mended: true,
    detail: `table ${table.physical} did not exist in ClickHouse; no rows of it are recorded`,
  };
}

const columnsOfRow = z.object({ name: z.string(), type: z.string() });

async function reconcileColumns(node: OperationNode, table: Table): Promise<Drift[]> {
  const columns = checkRows(
    columnsOfRow,
    await node.clickhouse.rows(
      `SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String}
        AND NOT startsWith(name, '_')`,
      { database: `ts_${table.dataset}`, table: table.physical },
    ),
  );
  const types = new Map(columns.map(({ name, type }) => [name, type]));
  const { fields } = table.schema;
  const missing = fields.filter(({ name }) => !types.has(name)).map(({ name }) => name);
  const drift: Drift[] = [];
  if (missing.length > 0) {
    await addColumnsAt(node, table);
    drift.push({ what: 'columns-missing', mended: true, detail: `added ${missing.join(', ')}` });
  }
  for (const field of fields) {
    const [expected, actual] = [clickhouseType(field, table.schema), types.get(field.name)];
    if (actual === undefined || isSameType(actual, expected)) continue;
    const detail = `${field.name} is ${actual}, not ${expected}: flushes of the table wait until the type is restored`;
    drift.push({ what: 'column-type', mended: false, detail });
  }
  const known = new Set(fields.map(({ name }) => name));
  const others = columns.filter(({ name }) => !known.has(name)).map(({ name }) => name);
  // A field that was added since `table` was read is no drift.
  const newest = others.length === 0 ? undefined : await readTable(node, table.dataset, table.name);
  const added = new Set(newest?.schema.fields.map(({ name }) => name));
  const unknown = others.filter((name) => !added.has(name));
  if (unknown.length > 0) {
    drift.push({ what: 'column-unknown', mended: false, detail: `${unknown.join(', ')}: not in the schema` });
  }
  return drift;
}

/** Removes differences between our TTL expression and ClickHouse's formatting of it: quotes, DELETE, white space. */
function normalizeTtl(ttl: string): string {
  return ttl
    .replaceAll('`', '')
    .replace(/ DELETE\b/g, '')
    .replace(/\s+/g, ' ')
    .trim();
}

async function reconcileRetention(node: OperationNode, table: Table, ttl: string): Promise<Drift[]> {
  const wanted = ttlExpressions(table).join(', ');
  if (normalizeTtl(wanted) === normalizeTtl(ttl)) return [];
  await applyRetentionAt(node, table);
  return [{ what: 'retention', mended: true, detail: `changed from “${ttl || 'none'}” to “${wanted || 'none'}”` }];
}

async function reconcilePolicy(node: OperationNode, table: Table, policy: string): Promise<Drift[]> {
  const wanted = node.config.CLICKHOUSE_STORAGE_POLICY;
  if (wanted === undefined || wanted === policy) return [];
  const detail = `the policy is ${policy}, not ${wanted}`;
  try {
    // ClickHouse accepts a policy that has all volumes of the old one.
    await node.clickhouse.command(
      `ALTER TABLE ${qualifiedName(table)} MODIFY SETTING storage_policy = ${quoteString(wanted)}`,
    );
    return [{ what: 'storage-policy', mended: true, detail }];
  } catch (error) {
    node.log({ event: 'storage-policy-refused', dataset: table.dataset, table: table.name, ...describeError(error) });
    return [{ what: 'storage-policy', mended: false, detail: `${detail}, and ClickHouse rejected the change` }];
  }
}

/** With too few or too short-lived deduplication tokens, a late insert would store its rows again. */
async function reconcileTokens(node: OperationNode, table: Table, engine: string): Promise<Drift[]> {
  const wanted = rememberedTokens(node, await node.clickhouseKind());
  const others = wanted.filter((setting) => !`${engine},`.includes(`${setting},`));
  if (others.length === 0) return [];
  await node.clickhouse.command(`ALTER TABLE ${qualifiedName(table)} MODIFY SETTING ${wanted.join(', ')}`);
  return [{ what: 'insert-tokens', mended: true, detail: `set ${others.join(', ')}` }];
}

async function foldExpiredManifests(ctx: OperationDeps, table: Table): Promise<Drift[]> {
  const from_ms = retainedFrom_ms(table, ctx.now());
  if (from_ms === undefined) return [];
  await drainManifestOutbox(ctx);
  const folded = await foldExpired(ctx, table, from_ms);
  if (folded === 0) return [];
  return [{ what: 'manifests-expired', mended: true, detail: `folded ${folded} runs of manifests of expired rows` }];
}

/** Shows rows in ClickHouse that queries omit: in a failover, the hot buffer has forgotten that they were published. */
async function showHiddenRows(ctx: OperationDeps, table: Table): Promise<Drift[]> {
  const forgotten = await restoreLanes(ctx, table);
  const imports = await showHiddenImports(ctx, table);
  const snapshot = await snapshotTable(ctx, table, 'state');
  const caughtUp = snapshot === 'unknown' ? [] : await catchUpLanes(ctx, table, snapshot.lanes);
  const lanes = [...forgotten.map(({ lane, watermark }) => ({ lane, from: 1, to: watermark })), ...caughtUp];
  return [
    ...imports.map((id) => ({ what: 'import-hidden' as const, detail: `import ${id} was done but not visible` })),
    ...lanes.map(({ lane, from, to }) => ({
      what: 'rows-hidden' as const,
      detail: `lane ${lane}: the hot buffer had forgotten that sequences ${from} to ${to} were published`,
    })),
  ].map((each) => ({ ...each, mended: true }));
}

/** Releases a mark of a change of rows whose job has ended. Queries of further pages are rejected while it is set. */
async function reconcileMark(ctx: OperationDeps, table: Table): Promise<Drift[]> {
  const stale = await releaseStaleMark(ctx, table);
  if (stale === undefined) return [];
  const { job, isReleased } = stale;
  const rest = isReleased ? '' : ', and ClickHouse still has rows to change';
  const detail = `further pages were rejected because of job ${job}, which has ended${rest}`;
  return [{ what: 'change-mark', mended: isReleased, detail }];
}

/** Applies the recorded state to lanes: an instance may have been killed between recording and applying it. */
async function reconcileStates(ctx: OperationDeps, { dataset, name }: Table): Promise<Drift[]> {
  const lanes = await applyStates(ctx, dataset, name);
  if (lanes === 0) return [];
  return [
    {
      what: 'lane-states',
      mended: true,
      detail: `${lanes} lanes accepted or rejected rows contrary to the recorded state`,
    },
  ];
}

async function record(ctx: OperationDeps, { dataset, name, life }: Table, drift: Drift[]): Promise<void> {
  await ctx.postgres.rows(
    `insert into reconciliations (dataset, name, drift, life) values ($dataset, $name, $drift::jsonb, $life)
     on conflict (dataset, name) do update
       set reconciled_at = now(), drift = excluded.drift, life = excluded.life where reconciliations.life <= excluded.life`,
    { dataset, name, drift: toJsonb(drift), life },
  );
}
