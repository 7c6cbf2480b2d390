import { inEachInstance } from '../../core/instance-memory.ts';
import { LruMap } from '../../core/lru-map.ts';
import type { MonitoringDeps } from '../deps.ts';
import { msOf } from '../duration.ts';
import { type Certificate, probeCertificate } from './certificate.ts';
import type { Condition } from './conditions.ts';
import { probeDns } from './dns.ts';
import { resolvedProblem, socketProblem, urlProblem } from './guard.ts';
import { probeHttp } from './http.ts';
import type { Attempt, Reason } from './observation.ts';
import { resolve } from './resolve.ts';
import { type ActiveCheck, secretText } from './target.ts';
import { type Connect, probeTcp } from './tcp.ts';

export type ProbeDeps = MonitoringDeps & { connect: Connect };

/** Verdicts on the addresses of names, for a moment: each check of a host would ask for them again. */
const verdicts = inEachInstance(() => new LruMap<{ isPublic: boolean; seenAt_ms: number }>(10_000));
const trusted_ms = 300_000;
const resolve_ms = 3_000;

/** One attempt of a check. Never rejects. */
export async function probe(
  ctx: ProbeDeps,
  check: ActiveCheck,
  secrets: ReadonlyMap<string, string>,
  conditions: Condition[],
  timeout_ms = msOf(check.timeout),
): Promise<Attempt & { certificate?: Certificate }> {
  const options = { timeout_ms, now: ctx.now };
  if (check.check === 'dns') return await probeDns(ctx.config.TIMESTORE_MONITOR_RESOLVERS, check, options);
  if (check.check === 'http') {
    const url = secretText(check.url, secrets);
    const body = check.body === undefined ? '' : secretText(check.body, secrets);
    const headers = Object.entries(check.headers).map(([name, value]) => [
      name.toLowerCase(),
      secretText(value, secrets),
    ]);
    if (url === undefined || body === undefined || headers.some(([, value]) => value === undefined)) {
      return failed('missing-secret');
    }
    return await probeHttp(
      {
        url,
        method: check.method,
        headers: Object.fromEntries(headers),
        body: check.body === undefined ? undefined : body,
        followRedirects: check.followRedirects,
        needsBody: conditions.some(readsBody),
      },
      (each) => isAllowed(ctx, each),
      options,
    );
  }
  const { host, port } = check;
  if (socketProblem(host, port, ctx.config) !== undefined || !(await hasPublicAddress(ctx, host))) {
    return failed('refused-target');
  }
  const address = { hostname: host, port };
  if (check.check === 'tcp') return await probeTcp(ctx.connect, address, options);
  return await probeCertificate(ctx.connect, address, options);
}

function failed(reason: Reason): Attempt {
  return { reason, observed: { isConnected: false } };
}

function readsBody({ left, right }: Condition): boolean {
  return [left, right].some((each) => 'source' in each && (each.source.of === 'body' || each.source.of === 'json'));
}

async function isAllowed(ctx: MonitoringDeps, url: string): Promise<boolean> {
  return urlProblem(url, ctx.config) === undefined && (await hasPublicAddress(ctx, new URL(url).hostname));
}

/**
 * Whether a name has no address that is out of reach. A hint only, because the runtime resolves the name again: a name that
 * cannot be resolved here counts as allowed.
 */
async function hasPublicAddress(ctx: MonitoringDeps, host: string): Promise<boolean> {
  const [resolver] = ctx.config.TIMESTORE_MONITOR_RESOLVERS;
  const isLocal = ctx.config.TIMESTORE_LOCAL && /(?:^|\.)localhost\.?$/.test(host);
  if (ctx.config.TIMESTORE_MONITOR_PRIVATE || isLocal || isAddress(host) || resolver === undefined) return true;
  const known = verdicts(ctx).get(host);
  if (known !== undefined && ctx.now() - known.seenAt_ms < trusted_ms) return known.isPublic;
  const signal = AbortSignal.timeout(resolve_ms);
  const answers = await Promise.all(
    ['A', 'AAAA'].map((type) => resolve(resolver, host, type, signal).catch(() => undefined)),
  );
  const records = answers.flatMap((answer) => answer?.records ?? []);
  const isPublic = records.every((record) => resolvedProblem(record, ctx.config) === undefined);
  if (records.length > 0) verdicts(ctx).set(host, { isPublic, seenAt_ms: ctx.now() });
  return isPublic;
}

function isAddress(host: string): boolean {
  return /^\[.*\]$|^[\d.]+$|:/.test(host);
}
