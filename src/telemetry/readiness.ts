import type { StoreName } from '../core/errors.ts';
import { describeError } from '../core/log.ts';
import { type Described, describeServer, type Kind } from '../stores/clickhouse/kind.ts';
import { atAny, everyNode } from '../stores/clickhouse/servers.ts';
import { findMissingLimits } from '../stores/clickhouse/users.ts';
import { ask } from '../stores/redis/client.ts';
import type { TelemetryDeps } from './deps.ts';

export type Readiness = {
  /** `unavailable`: without the hot buffer no rows are accepted. `degraded`: some requests fail or are less fresh. */
  status: 'ok' | 'degraded' | 'unavailable';
  stores: Record<StoreName, StoreState>;
  /** Problems although every store answers. The endpoint is public, so the details are in the log only. */
  warnings: string[];
};

/** `kind` and `version` are only set for ClickHouse. */
type StoreState = { ok: boolean; latencyMs: number; kind?: Kind; version?: string };

/** Each probe succeeds only for a reachable, migrated store with valid credentials. */
const probes: Record<StoreName, (ctx: TelemetryDeps) => Promise<unknown>> = {
  redis: (ctx) => ask(() => ctx.redis.ping()),
  clickhouse: async (ctx): Promise<Described> => {
    await Promise.all(
      everyNode(ctx).flatMap(({ reader, clickhouse }) =>
        [reader, clickhouse].map((each) => each.rows('SELECT 1 FROM timestore.ingest_watermarks LIMIT 1')),
      ),
    );
    const { version } = await describeServer(atAny(ctx).clickhouse);
    return { kind: await ctx.clickhouseKind(), version };
  },
  postgres: (ctx) => ctx.postgres.rows('select 1 from manifests limit 1'),
  s3: (ctx) => ctx.objects.check(),
};

/** Contexts whose ClickHouse reader has all limits. Not checked again: limits change only by an administrator. */
const limitedContexts = new WeakSet<TelemetryDeps>();

async function findWarnings(ctx: TelemetryDeps): Promise<string[]> {
  if (limitedContexts.has(ctx)) return [];
  const missing = await Promise.all(everyNode(ctx).map(({ reader }) => findMissingLimits(reader)));
  const settings = [...new Set(missing.flat())];
  if (settings.length === 0) {
    limitedContexts.add(ctx);
    return [];
  }
  ctx.log({ event: 'reader-limits-lacking', settings });
  return ['Limits of sql/clickhouse/users.sql are missing for the ClickHouse reader; timestore migrate names them.'];
}

export async function checkStores(ctx: TelemetryDeps): Promise<Readiness> {
  const names = Object.keys(probes) as StoreName[];
  const answers = await Promise.all(
    names.map(async (name) => {
      const startedAt = performance.now();
      const result = await probes[name](ctx).then(
        (answer) => ({ ok: true, ...(name === 'clickhouse' && (answer as Described)) }),
        (error) => {
          ctx.log({ event: 'store-away', store: name, ...describeError(error) });
          return { ok: false };
        },
      );
      return [name, { ...result, latencyMs: Math.round((performance.now() - startedAt) * 10) / 10 }] as const;
    }),
  );
  const stores = Object.fromEntries(answers) as Readiness['stores'];
  const allOk = Object.values(stores).every(({ ok }) => ok);
  const warnings = stores.clickhouse.ok ? await findWarnings(ctx).catch(() => []) : [];
  return { status: !stores.redis.ok ? 'unavailable' : allOk ? 'ok' : 'degraded', stores, warnings };
}
