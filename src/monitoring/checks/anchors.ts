import type { ProbeDeps } from './probe.ts';

const anchor_ms = 5_000;
const hosts_min = 3;

/** Whether so many hosts fail by network that the network of the checker may be the cause. */
export function isSuspicious(hosts: { host: string; isFailed: boolean }[]): boolean {
  const all = new Set(hosts.map(({ host }) => host));
  const working = new Set(hosts.filter(({ isFailed }) => !isFailed).map(({ host }) => host));
  const failed = all.size - working.size;
  return failed >= hosts_min && failed > all.size / 2;
}

/** Whether an address answers that always does. Any answer counts. */
export async function isOnline(ctx: Pick<ProbeDeps, 'config'>): Promise<boolean> {
  const answers = ctx.config.TIMESTORE_MONITOR_ANCHORS.map(async (url) => {
    const signal = AbortSignal.timeout(anchor_ms);
    const response = await fetch(url, { redirect: 'manual', cache: 'no-store', signal });
    await response.body?.cancel();
    // Cloudflare's own statuses for failures between it and the address.
    if (response.status >= 520) throw new Error(`status ${response.status}`);
  });
  return await Promise.any(answers).then(
    () => true,
    () => false,
  );
}
