import * as z from 'zod';
import { dueWork } from '../buffer/due.ts';
import { readMemory } from '../buffer/memory.ts';
import { logicalName } from '../core/identifiers.ts';
import type { GaugeName } from '../core/metrics.ts';
import { newestAudits } from '../operations/row-audit/audit-due.ts';
import { checkRows } from '../stores/check-rows.ts';
import { runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { TelemetryDeps } from './deps.ts';
import laneGaugesLua from './lane-gauges.lua';
import { checkStores } from './readiness.ts';
import rememberedLua from './remembered.lua';

const datasetRow = z.object({ name: z.string() });

const gaugesScript = script(laneGaugesLua);
const rememberedScript = script(rememberedLua);

export type Sample = { name: GaugeName; labels: Record<string, string>; value: number };

/** Limits of one scrape. The lanes that have waited longest come first. */
const gaugedLanes_max = 1_000;
const datasets_max = 1_000;

/** Pending rows in the hot buffer, by table. Two Redis commands. Throws StoreError. */
export async function bufferGauges(ctx: TelemetryDeps): Promise<Sample[]> {
  const { lanes } = await dueWork(ctx, gaugedLanes_max, 'all');
  type Reply = [number, number, number, ...[number, number, number, number][]];
  const [now_ms, outbox, refused, ...states] = await runScript<Reply>(ctx.redis, gaugesScript, {
    outbox: ctx.keys.outbox,
    refused: ctx.keys.refusedManifests,
    states: lanes.map(({ table, lane }) => ctx.keys.state(table, lane)),
  });
  type Waiting = { rows: number; bytes: number; age_ms: number; failures: number };
  const tables = new Map<string, Waiting & { dataset: string; table: string }>();
  for (const [i, { table }] of lanes.entries()) {
    const [rows, bytes, oldest_ms, failures] = states[i] ?? [0, 0, 0, 0];
    const key = `${table.dataset}.${table.physical}`;
    const sum = tables.get(key) ?? {
      dataset: table.dataset,
      table: logicalName(table.physical),
      rows: 0,
      bytes: 0,
      age_ms: 0,
      failures: 0,
    };
    sum.rows += rows;
    sum.bytes += bytes;
    if (rows > 0) sum.age_ms = Math.max(sum.age_ms, now_ms - oldest_ms);
    sum.failures = Math.max(sum.failures, failures);
    tables.set(key, sum);
  }
  return [
    { name: 'timestore_lanes_pending', labels: {}, value: lanes.length },
    { name: 'timestore_outbox_manifests', labels: {}, value: outbox },
    { name: 'timestore_refused_manifests', labels: {}, value: refused },
    ...[...tables.values()].flatMap(({ dataset, table, rows, bytes, age_ms, failures }): Sample[] => {
      const labels = { dataset, table };
      return [
        { name: 'timestore_replica_age_ms', labels, value: age_ms },
        { name: 'timestore_hot_tail_rows', labels, value: rows },
        { name: 'timestore_hot_tail_bytes', labels, value: bytes },
        { name: 'timestore_flush_failures', labels, value: failures },
      ];
    }),
  ];
}

/** Memory of the hot buffer, and memory of idempotency keys by dataset. Throws StoreError. */
export async function memoryGauges(ctx: TelemetryDeps): Promise<Sample[]> {
  const [memory, datasets] = await Promise.all([
    readMemory(ctx),
    ctx.postgres
      .rows(`select name from datasets where dropped_at is null order by name limit ${datasets_max}`)
      // The memory gauges do not need Postgres.
      .catch(() => []),
  ]);
  const names = checkRows(datasetRow, datasets).map(({ name }) => name);
  const datasetKeys = names.map((name) => ctx.keys.remembered(name));
  const remembered =
    datasetKeys.length === 0 ? [] : await runScript<number[]>(ctx.redis, rememberedScript, { datasets: datasetKeys });
  return [
    ...(memory === undefined ? [] : [{ name: 'timestore_buffer_used_bytes' as const, labels: {}, value: memory.used }]),
    ...(memory?.max === undefined
      ? []
      : [{ name: 'timestore_buffer_max_bytes' as const, labels: {}, value: memory.max }]),
    ...names.flatMap((dataset, i): Sample[] => {
      const value = remembered[i] ?? 0;
      return value === 0 ? [] : [{ name: 'timestore_idempotency_bytes', labels: { dataset }, value }];
    }),
  ];
}

/** Results of the newest audits. Throws StoreError. */
export async function auditGauges(ctx: TelemetryDeps): Promise<Sample[]> {
  const audits = await newestAudits(ctx);
  return audits.flatMap(({ dataset, table, missing, doubled, unaccounted, ok, age_s }): Sample[] => {
    const labels = { dataset, table };
    return [
      { name: 'timestore_audit_missing_rows', labels, value: missing },
      { name: 'timestore_audit_doubled_rows', labels, value: doubled },
      { name: 'timestore_audit_unaccounted_rows', labels, value: unaccounted },
      { name: 'timestore_audit_ok', labels, value: ok ? 1 : 0 },
      { name: 'timestore_audit_age_seconds', labels, value: Math.round(age_s) },
    ];
  });
}

/** Jobs, drift, backups and mirrors, from the catalogue. Throws StoreError. */
export async function catalogueGauges(ctx: TelemetryDeps): Promise<Sample[]> {
  const [jobs = [], drifts = [], oldest = [], backups = [], mirrors = []] = await ctx.postgres.transaction([
    [
      `select state, count(*)::int as n from jobs where buffer = $buffer and state in ('queued', 'running', 'failed')
        group by state`,
      { buffer: ctx.config.TIMESTORE_KEY_PREFIX },
    ],
    [
      `select dataset, name, (select count(*)::int from jsonb_array_elements(drift) d where not (d->>'mended')::boolean) as n
         from reconciliations join tables t using (dataset, name, life) where t.dropped_at is null and drift <> '[]'`,
    ],
    ['select extract(epoch from now() - min(reconciled_at))::float8 as age_s from reconciliations'],
    [
      `select extract(epoch from now() - max(finished_at))::float8 as age_s from jobs where kind = 'backup' and state = 'done'`,
    ],
    [
      `select dataset, "table",
              extract(epoch from now() - coalesce(to_timestamp((progress->>'caughtUp_ms')::float8 / 1000), created_at))::float8 as age_s,
              (select count(*)::int from jsonb_each(coalesce(progress->'lanes', '{}')) l where l.value ? 'stopped') as stopped
         from jobs where kind = 'mirror' and buffer = $buffer and state in ('queued', 'running', 'failed')
        order by dataset, "table" limit ${gaugedLanes_max}`,
      { buffer: ctx.config.TIMESTORE_KEY_PREFIX },
    ],
  ]);
  const states = new Map(jobs.map(({ state, n }) => [state, Number(n)]));
  const age_s = oldest[0]?.age_s;
  return [
    ...['queued', 'running', 'failed'].map((state): Sample => {
      return { name: 'timestore_jobs', labels: { state }, value: states.get(state) ?? 0 };
    }),
    ...drifts.map(({ dataset, name, n }): Sample => {
      return { name: 'timestore_drift', labels: { dataset: String(dataset), table: String(name) }, value: Number(n) };
    }),
    ...mirrors.flatMap(({ dataset, table, age_s: behind_s, stopped }): Sample[] => {
      const labels = { dataset: String(dataset), table: String(table) };
      return [
        { name: 'timestore_mirror_age_seconds', labels, value: Math.max(0, Math.round(Number(behind_s))) },
        { name: 'timestore_mirror_stopped_lanes', labels, value: Number(stopped) },
      ];
    }),
    ...(age_s === null || age_s === undefined
      ? []
      : [{ name: 'timestore_reconcile_age_seconds' as const, labels: {}, value: Math.round(Number(age_s)) }]),
    { name: 'timestore_backup_age_seconds', labels: {}, value: Number(backups[0]?.age_s ?? Number.POSITIVE_INFINITY) },
  ];
}

export async function storeGauges(ctx: TelemetryDeps): Promise<Sample[]> {
  const { stores } = await checkStores(ctx);
  return Object.entries(stores).map(([store, { ok }]) => {
    return { name: 'timestore_store_up', labels: { store }, value: ok ? 1 : 0 };
  });
}
