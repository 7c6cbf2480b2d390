import * as z from 'zod';
import { inEachInstance } from '../core/instance-memory.ts';
import { describeError } from '../core/log.ts';
import { LruMap } from '../core/lru-map.ts';
import { readThrough } from '../core/read-through.ts';
import { checkRows } from '../stores/check-rows.ts';
import { ask, runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { CatalogDeps } from './deps.ts';
import rememberReadsLua from './lua/remember-reads.lua';
import { raiseRevision } from './raise-revision.ts';

const rememberScript = script(rememberReadsLua);

/** Who answers the queries of datasets that an instance has seen. */
const seenReads = inEachInstance(
  ({ limits }) => new LruMap<{ reads: Reads; seenAt_ms: number }>(limits.kept_names_max),
);

/**
 * The system that answers queries of a dataset in a takeover. `off`: the source system; `compare`: the source system, and the
 * response of this deployment is compared with it; `on`: this deployment.
 */
export const readModes = ['off', 'compare', 'on'] as const;

export type Reads = (typeof readModes)[number];

export type Takeover = {
  reads: Reads;
  /** Whether accepted rows are sent to the source system. */
  mirror: boolean;
};

/** How long a cached mode is trusted. A change is in effect everywhere within this time. */
export const trusted_ms = 10_000;

type Recorded = { revision: number; reads: Reads };

const recordedRow: z.ZodType<Recorded> = z.object({ revision: z.number(), reads: z.enum(readModes) });

/**
 * Who answers a dataset's queries: from this instance's memory, then the hot buffer's, then the catalogue. Of the dataset
 * and not of its tables: there may be none yet. Nobody is asked where the deployment knows no original.
 *
 * @throws StoreError when nobody can tell: neither store answers, and this instance has not seen it
 */
export async function readMode(ctx: CatalogDeps, dataset: string): Promise<Reads> {
  if (ctx.config.TIMESTORE_ORIGIN_URL === undefined) return 'on';
  const trust = { now_ms: ctx.now(), trusted_ms, use: ({ reads }: { reads: Reads }) => reads };
  return await readThrough(seenReads(ctx), dataset, trust, async () => {
    const buffered = await readBuffered(ctx, dataset);
    if (buffered !== undefined) return keep(ctx, dataset, buffered);
    const recorded = await readRecorded(ctx, dataset);
    // Unknown names are not cached, because clients could fill the cache with them.
    if (recorded === undefined) return 'on';
    await remember(ctx, dataset, recorded).catch((error) =>
      ctx.log({ event: 'reads-cache-unwritten', dataset, ...describeError(error) }),
    );
    return keep(ctx, dataset, recorded.reads);
  });
}

/** Writes the recorded mode of a dataset to the hot buffer. Idempotent and safe to run concurrently. Throws StoreError. */
export async function applyReadMode(ctx: CatalogDeps, dataset: string): Promise<void> {
  seenReads(ctx).delete(dataset);
  const recorded = await readRecorded(ctx, dataset);
  if (recorded === undefined) return;
  const newer = await remember(ctx, dataset, recorded);
  if (newer > 0 && (await raiseRevision(ctx, dataset, newer))) await applyReadMode(ctx, dataset);
}

/** A dataset that is being deleted has mode `on`, so that queries are not sent to the source system. */
async function readRecorded(ctx: CatalogDeps, dataset: string): Promise<Recorded | undefined> {
  const [recorded] = checkRows(
    recordedRow,
    await ctx.postgres.rows(
      `select revision, case when state = 'deleting' or dropped_at is not null then 'on'
                           else coalesce(migration->>'reads', 'on') end as reads
       from datasets where name = $dataset`,
      { dataset },
    ),
  );
  return recorded;
}

/** Undefined also if Redis is unavailable, so that the caller asks the catalogue. */
async function readBuffered(ctx: CatalogDeps, dataset: string): Promise<Reads | undefined> {
  try {
    const text = await ask(() => ctx.redis.hget<string>(ctx.keys.reads, dataset));
    return readModes.find((mode) => text?.endsWith(` ${mode}`));
  } catch (error) {
    ctx.log({ event: 'reads-cache-unreadable', dataset, ...describeError(error) });
    return undefined;
  }
}

/** Returns the newer revision that is already stored, or 0. */
async function remember(ctx: CatalogDeps, dataset: string, { revision, reads }: Recorded): Promise<number> {
  return await runScript<number>(
    ctx.redis,
    rememberScript,
    { reads: ctx.keys.reads },
    { dataset, revision, mode: reads },
  );
}

function keep(ctx: CatalogDeps, dataset: string, reads: Reads): Reads {
  seenReads(ctx).set(dataset, { reads, seenAt_ms: ctx.now() });
  return reads;
}
