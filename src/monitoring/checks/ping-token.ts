import { hash } from 'node:crypto';
import * as z from 'zod';
import { auditLine } from '../../catalog/audit-log/statement.ts';
import { inEachInstance } from '../../core/instance-memory.ts';
import { LruMap } from '../../core/lru-map.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { Params } from '../../stores/postgres/client.ts';
import type { MonitoringDeps } from '../deps.ts';

const ownerRow = z.object({ dataset: z.string(), serviceId: z.string() });
export type PingOwner = z.output<typeof ownerRow>;

/** Services by hash of a token. Undefined for a token that does not exist. */
const seen = inEachInstance(() => new LruMap<{ owner: PingOwner | undefined; seenAt_ms: number }>(10_000));

/** A revoked token works for this long at most, and a new one that was tried before it existed does not. */
const trusted_ms = 30_000;

/** Tokens have 128 random bits, which need no slow hash. */
export function hashToken(token: string): string {
  return hash('sha256', token);
}

/** A new token with which a service sends its heartbeats. Earlier tokens of the service stop working. Throws StoreError. */
export async function createPingToken(ctx: MonitoringDeps, dataset: string, serviceId: string): Promise<string> {
  const token = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('base64url');
  const params: Params = {
    buffer: ctx.config.TIMESTORE_KEY_PREFIX,
    dataset,
    serviceId,
    tokenHash: hashToken(token),
  };
  await ctx.postgres.rows(
    `with earlier as (
       delete from monitor_heartbeats where buffer = $buffer and dataset = $dataset and service_id = $serviceId),
     made as (
       insert into monitor_heartbeats (token_hash, buffer, dataset, service_id)
       values ($tokenHash, $buffer, $dataset, $serviceId) returning token_hash)
     ${auditLine({ action: 'monitor.ping-token', dataset, detail: { serviceId } }, 'made', params)}`,
    params,
  );
  return token;
}

/** Whether this instance can look up a token without a store. */
export function isTokenKnown(ctx: MonitoringDeps, tokenHash: string): boolean {
  return seen(ctx).get(tokenHash)?.owner !== undefined;
}

/** The service of a token; undefined for a token that does not exist. Throws StoreError. */
export async function findPingOwner(ctx: MonitoringDeps, tokenHash: string): Promise<PingOwner | undefined> {
  const known = seen(ctx).get(tokenHash);
  if (known !== undefined && ctx.now() - known.seenAt_ms < trusted_ms) return known.owner;
  const rows = await ctx.postgres.rows(
    `select dataset, service_id as "serviceId" from monitor_heartbeats
      where token_hash = $tokenHash and buffer = $buffer`,
    { tokenHash, buffer: ctx.config.TIMESTORE_KEY_PREFIX },
  );
  const [owner] = checkRows(ownerRow, rows);
  seen(ctx).set(tokenHash, { owner, seenAt_ms: ctx.now() });
  return owner;
}
