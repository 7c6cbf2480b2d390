import type { StoreName } from '../core/errors.ts';
import { describeError } from '../core/log.ts';
import { type Described, describe, type Kind } from '../stores/clickhouse/kind.ts';
import { atAny, everyNode } from '../stores/clickhouse/servers.ts';
import { limitsLacking } from '../stores/clickhouse/users.ts';
import { ask } from '../stores/redis/client.ts';
import type { TelemetryDeps } from './deps.ts';

export type Readiness = {
  /** `unavailable`: without the hot buffer nothing can be accepted. `degraded`: some requests will fail or be less fresh. */
  status: 'ok' | 'degraded' | 'unavailable';
  stores: Record<StoreName, StoreState>;
  /** What is not as it should be although everything answers. For everybody to read: the log has more. */
  warnings: string[];
};

/** `kind` and `version` are ClickHouse's. */
type StoreState = { ok: boolean; latencyMs: number; kind?: Kind; version?: string };

/** Asks each store for something that only a reachable, migrated one with the right credentials can answer. */
const questions: Record<StoreName, (ctx: TelemetryDeps) => Promise<unknown>> = {
  redis: (ctx) => ask(() => ctx.redis.ping()),
  clickhouse: async (ctx): Promise<Described> => {
    await Promise.all(
      everyNode(ctx).flatMap(({ reader, clickhouse }) =>
        [reader, clickhouse].map((each) => each.rows('SELECT 1 FROM timestore.ingest_watermarks LIMIT 1')),
      ),
    );
    const { version } = await describe(atAny(ctx).clickhouse);
    return { kind: await ctx.clickhouseKind(), version };
  },
  postgres: (ctx) => ctx.postgres.rows('select 1 from manifests limit 1'),
  s3: (ctx) => ctx.objects.check(),
};

/** Contexts whose ClickHouse was seen to limit its reader: that does not change by itself. */
const limited = new WeakSet<TelemetryDeps>();

async function warningsOf(ctx: TelemetryDeps): Promise<string[]> {
  if (limited.has(ctx)) return [];
  const lacking = await Promise.all(everyNode(ctx).map(({ reader }) => limitsLacking(reader)));
  const settings = [...new Set(lacking.flat())];
  if (settings.length === 0) {
    limited.add(ctx);
    return [];
  }
  ctx.log({ event: 'reader-limits-lacking', settings });
  return ['The ClickHouse reader lacks limits of sql/clickhouse/users.sql; timestore migrate names them.'];
}

export async function checkStores(ctx: TelemetryDeps): Promise<Readiness> {
  const names = Object.keys(questions) as StoreName[];
  const answers = await Promise.all(
    names.map(async (name) => {
      const from = performance.now();
      const said = await questions[name](ctx).then(
        (answer) => ({ ok: true, ...(name === 'clickhouse' && (answer as Described)) }),
        (error) => {
          ctx.log({ event: 'store-away', store: name, ...describeError(error) });
          return { ok: false };
        },
      );
      return [name, { ...said, latencyMs: Math.round((performance.now() - from) * 10) / 10 }] as const;
    }),
  );
  const stores = Object.fromEntries(answers) as Readiness['stores'];
  const allOk = Object.values(stores).every(({ ok }) => ok);
  const warnings = stores.clickhouse.ok ? await warningsOf(ctx).catch(() => []) : [];
  return { status: !stores.redis.ok ? 'unavailable' : allOk ? 'ok' : 'degraded', stores, warnings };
}
