import { inEachInstance } from '../../core/instance-memory.ts';
import { LruMap } from '../../core/lru-map.ts';
import { addressProblem } from '../../operations/webhooks/address.ts';
import type { MonitoringDeps } from '../deps.ts';
import { readSecrets } from '../resources/secrets.ts';
import type { MonitorConfig } from '../resources/store.ts';

const timeout_ms = 10_000;

/** Addresses of watchdogs, by dataset and revision of its configuration. */
const addresses = inEachInstance(() => new LruMap<string[]>(100));

/**
 * Pings the watchdog channels of a dataset: receivers that raise an alarm when pings stay out. Call this after a minute in which
 * every shard of the dataset was evaluated. An instance reads the addresses once for each revision of the configuration.
 */
export async function pingWatchdogs(
  ctx: MonitoringDeps,
  dataset: string,
  config: Pick<MonitorConfig, 'revision' | 'channels'>,
): Promise<void> {
  await Promise.all((await addressesOf(ctx, dataset, config)).map((url) => ping(ctx, dataset, url)));
}

async function addressesOf(
  ctx: MonitoringDeps,
  dataset: string,
  { revision, channels }: Pick<MonitorConfig, 'revision' | 'channels'>,
): Promise<string[]> {
  const urls = [...channels.values()].flatMap((each) => (each.kind === 'watchdog' && each.enabled ? [each.url] : []));
  if (urls.length === 0) return [];
  const kept = addresses(ctx);
  const name = `${dataset}/${revision}`;
  const known = kept.get(name);
  if (known !== undefined) return known;
  const names = urls.flatMap((url) => (typeof url === 'string' ? [] : [url.secret]));
  const secrets = await readSecrets(ctx, dataset, names);
  const found = urls.flatMap((url) => (typeof url === 'string' ? url : (secrets.get(url.secret) ?? [])));
  const allowed = found.filter((url) => addressProblem(url, ctx.config) === undefined);
  kept.set(name, allowed);
  return allowed;
}

/** Failures are logged without the address, which is a secret. The next minute pings again. */
async function ping(ctx: MonitoringDeps, dataset: string, url: string): Promise<void> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'user-agent': 'timestore' },
      redirect: 'manual',
      signal: AbortSignal.timeout(timeout_ms),
    });
    await response.body?.cancel();
    if (!response.ok) ctx.log({ event: 'watchdog-failed', dataset, status: response.status });
  } catch {
    ctx.log({ event: 'watchdog-failed', dataset, status: null });
  }
}
