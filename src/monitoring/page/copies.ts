import { setTimeout as delay } from 'node:timers/promises';
import { ApiError } from '../../core/errors.ts';
import { inEachInstance } from '../../core/instance-memory.ts';
import { describeError } from '../../core/log.ts';
import { LruMap } from '../../core/lru-map.ts';
import { ask } from '../../stores/redis/client.ts';
import type { MonitoringDeps } from '../deps.ts';
import { buildPage } from './build.ts';
import { type PublicPage, publicPage } from './view.ts';

/** How old a copy may be before the page is built again. */
const fresh_ms = 20_000;
/** A page that does not exist is not looked up again for this time. */
const missing_ms = 10_000;
/** The copy in the bucket outlives the hot buffer, and is written this often. */
const kept_ms = 300_000;
const build_ms_max = 10_000;
const redisCopy_s = 30 * 86_400;

type Held = { page: PublicPage | undefined; at_ms: number };

/** Copies of an instance, by dataset and slug. */
const copies = inEachInstance(() => new LruMap<Held>(200));
/** When an instance last wrote a page to the bucket. */
const keptAt = inEachInstance(() => new LruMap<number>(200));
/** Builds that run, so that requests at the same time share one. */
const builds = inEachInstance(() => new Map<string, Promise<PublicPage | undefined>>());

/**
 * The page of a slug: a copy of the last 20 seconds, or a new one. While a store is unavailable, the last good copy, of any
 * age: from Redis, then from the bucket, then from the memory of this instance. Undefined: the page does not exist.
 *
 * @throws ApiError, StoreError if the page can neither be built nor found
 */
export async function readPage(ctx: MonitoringDeps, dataset: string, slug: string): Promise<PublicPage | undefined> {
  const name = `${dataset}/${slug}`;
  const held = copies(ctx).get(name);
  if (held !== undefined && ctx.now() - held.at_ms < (held.page === undefined ? missing_ms : fresh_ms))
    return held.page;
  const shared = await redisCopy(ctx, dataset, slug);
  if (shared !== undefined && Math.abs(ctx.now() - shared.asOf_ms) < fresh_ms) return hold(ctx, name, shared);
  try {
    return hold(ctx, name, await build(ctx, dataset, slug));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    ctx.log({ event: 'status-page-from-copy', dataset, slug, ...describeError(error) });
    const last = shared ?? (await bucketCopy(ctx, dataset, slug)) ?? held?.page;
    if (last === undefined) throw error;
    return hold(ctx, name, last);
  }
}

function hold(ctx: MonitoringDeps, name: string, page: PublicPage | undefined): PublicPage | undefined {
  copies(ctx).set(name, { page, at_ms: ctx.now() });
  return page;
}

async function build(ctx: MonitoringDeps, dataset: string, slug: string): Promise<PublicPage | undefined> {
  const name = `${dataset}/${slug}`;
  const running = builds(ctx).get(name) ?? buildAndKeep(ctx, dataset, slug).finally(() => builds(ctx).delete(name));
  builds(ctx).set(name, running);
  const timeout = new AbortController();
  const late = delay(build_ms_max, undefined, { signal: timeout.signal }).then(() => {
    throw new ApiError('unavailable', 'The status page could not be built in time.', { retryAfterMs: 5_000 });
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([running, late]);
  } finally {
    timeout.abort();
    running.catch(() => undefined);
  }
}

async function buildAndKeep(ctx: MonitoringDeps, dataset: string, slug: string): Promise<PublicPage | undefined> {
  const page = await buildPage(ctx, dataset, slug);
  await keep(ctx, dataset, slug, page).catch((error) => {
    ctx.log({ event: 'status-page-not-kept', dataset, slug, ...describeError(error) });
  });
  return page;
}

/** Keeps copies outside of this instance, or removes them with the page. */
async function keep(ctx: MonitoringDeps, dataset: string, slug: string, page: PublicPage | undefined): Promise<void> {
  const name = `${dataset}/${slug}`;
  const [key, object] = [ctx.keys.statusPage(dataset, slug), objectKey(ctx, dataset, slug)];
  if (page === undefined) {
    // Most names that do not exist never did: without a copy in Redis, the bucket has none.
    if ((await ask(() => ctx.redis.del(key))) > 0) await ctx.objects.remove(object);
    return;
  }
  const text = JSON.stringify(page);
  await ask(() => ctx.redis.set(key, text, { ex: redisCopy_s }));
  if (ctx.now() - (keptAt(ctx).get(name) ?? 0) < kept_ms) return;
  keptAt(ctx).set(name, ctx.now());
  await ctx.objects.put(object, text);
}

async function redisCopy(ctx: MonitoringDeps, dataset: string, slug: string): Promise<PublicPage | undefined> {
  const found = await ask(() => ctx.redis.get<string>(ctx.keys.statusPage(dataset, slug))).catch(() => null);
  return parseCopy(found ?? undefined);
}

async function bucketCopy(ctx: MonitoringDeps, dataset: string, slug: string): Promise<PublicPage | undefined> {
  return parseCopy(await ctx.objects.get(objectKey(ctx, dataset, slug)).catch(() => undefined));
}

/** Undefined for a copy of another version of this program. */
function parseCopy(text: string | undefined): PublicPage | undefined {
  if (text === undefined) return undefined;
  try {
    return publicPage.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function objectKey(ctx: MonitoringDeps, dataset: string, slug: string): string {
  return `status-pages/${ctx.config.TIMESTORE_KEY_PREFIX}/${dataset}/${slug}.json`;
}
