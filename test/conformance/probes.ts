import { knownTables } from '../../src/catalog/table-cache.ts';
import { StoreError } from '../../src/core/errors.ts';
import { createContext } from '../../src/create-context.ts';
import { parseTable } from '../../src/schema/table.ts';
import { ClickHouseError } from '../../src/stores/clickhouse/client.ts';
import { cleanClickHouse, clickhouseProbes } from './clickhouse.ts';
import { postgresProbes } from './postgres.ts';
import type { Probe, Run } from './probe.ts';
import { redisProbes } from './redis.ts';
import { s3Probes } from './s3.ts';

export type Result = Pick<Probe, 'store' | 'what' | 'fix'> & { ok: boolean; said: string };

const hour_ms = 3_600_000;

/**
 * Tries everything that the product relies on at the stores of an environment, under a name of its own, which is removed.
 *
 * @param tell hears of each result as it comes
 * @throws ConfigError naming the variables that are missing
 */
export async function tryAll(
  env: Record<string, unknown>,
  tell: (result: Result) => void = () => undefined,
): Promise<Result[]> {
  const id = `conformance-${crypto.randomUUID().slice(0, 8)}`;
  const ctx = createContext({ TIMESTORE_ADMIN_KEY: 'not used here', ...env, TIMESTORE_KEY_PREFIX: id });
  ctx.log = () => undefined;
  const table = parseTable({
    dataset: id,
    name: 'probe',
    life: 1,
    window: 'day',
    lanes: 1,
    readLanes: 1,
    revision: 1,
    schema: {
      version: 1,
      timestampColumn: 'timestamp',
      keyFields: [],
      fields: [
        { name: 'timestamp', type: 'timestamp' },
        { name: 'v', type: 'double' },
        { name: 's', type: 'string' },
      ],
    },
  });
  // The product's own code finds it here, and asks no catalogue for it.
  knownTables(ctx).set(`${table.dataset}.${table.name}`, { table, seenAt_ms: Date.now() + hour_ms });
  const run: Run = { ctx, table, id };
  const results: Result[] = [];
  const add = (result: Result) => {
    results.push(result);
    tell(result);
  };
  for (const probe of [...redisProbes, ...postgresProbes, ...s3Probes, ...clickhouseProbes]) {
    const { store, what, fix } = probe;
    const outcome = await probe.run(run).then(
      (said = '') => ({ ok: true, said }),
      (error: unknown) => ({ ok: false, said: wordsOf(error) }),
    );
    add({ store, what, fix, ...outcome });
  }
  for (const [store, work] of [
    ['clickhouse', cleanClickHouse(run)],
    ['redis', cleanRedis(run)],
  ] as const) {
    const failed = await work.then(
      () => undefined,
      (error: unknown) => wordsOf(error),
    );
    if (failed !== undefined) {
      add({
        store,
        what: 'lets go of what was tried',
        fix: `Remove what is named ${id} by hand.`,
        ok: false,
        said: failed,
      });
    }
  }
  return results;
}

/** All keys that begin with the name of the run. */
async function cleanRedis({ ctx, id }: Run): Promise<void> {
  let cursor = '0';
  do {
    const [next, keys] = await ctx.redis.scan(cursor, { match: `${id}*`, count: 1_000 });
    if (keys.length > 0) await ctx.redis.del(...keys);
    cursor = String(next);
  } while (cursor !== '0');
}

/** The store's own words, which only who runs this reads. */
function wordsOf(error: unknown): string {
  const cause = error instanceof StoreError ? error.cause : error;
  const text = cause instanceof Error ? cause.message : String(cause ?? error);
  const code = cause instanceof ClickHouseError ? `code ${cause.code}: ` : '';
  return `${code}${text}`.replace(/\s+/g, ' ').slice(0, 300);
}
