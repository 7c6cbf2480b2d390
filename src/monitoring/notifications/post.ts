import * as z from 'zod';
import { signedHeaders } from '../../operations/webhooks/signature.ts';
import type { MonitoringDeps } from '../deps.ts';
import { withRoutingKey } from './messages/pagerduty.ts';
import type { Target } from './target.ts';

/** One try to deliver a message, without address, headers and answer. */
export const attempt = z.object({
  at: z.string(),
  status: z.number().nullable(),
  took_ms: z.number(),
  error: z.string().nullable(),
  /** Whether the receiver may have taken the message although this try failed. */
  uncertain: z.boolean(),
});

export type Attempt = z.output<typeof attempt>;

const timeout_ms = 10_000;

/** Errors of connections that were never made. Other errors may come after the receiver has the message. */
const unsent = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** Answers of gateways that may have passed the message on. 520 and 524 are Cloudflare's. */
const uncertainStatuses = new Set([502, 504, 520, 524]);

/** The longest wait that a receiver can ask for. */
const retryAfter_ms_max = 24 * 3_600_000;

/**
 * Sends one body. Headers that identify and sign the message come after the configured ones, which cannot replace them.
 *
 * @returns the try, and how long the receiver wants no other one
 */
export async function post(
  ctx: MonitoringDeps,
  { url, headers, routingKey, signingSecret }: Target,
  id: string,
  unfinished: string,
): Promise<{ attempt: Attempt; retryAfter_ms: number | undefined }> {
  const from_ms = ctx.now();
  const at = new Date(from_ms).toISOString();
  const body = routingKey === undefined ? unfinished : withRoutingKey(unfinished, routingKey);
  const ended = (status: number | null, error: string | null, uncertain: boolean): Attempt => ({
    at,
    status,
    took_ms: ctx.now() - from_ms,
    error,
    uncertain,
  });
  try {
    const sent = new Headers(headers);
    const own = { 'content-type': 'application/json', 'user-agent': 'timestore' };
    for (const [name, value] of Object.entries({
      ...own,
      ...(await signedHeaders(signingSecret, id, from_ms, body)),
    })) {
      sent.set(name, value);
    }
    const response = await fetch(url, {
      method: 'POST',
      headers: sent,
      body,
      // A redirection could lead to an address that is not allowed, and would take secrets there.
      redirect: 'manual',
      signal: AbortSignal.timeout(timeout_ms),
    });
    await response.body?.cancel();
    const { status } = response;
    const retryAfter_ms = retryAfterOf(response.headers.get('retry-after'), from_ms);
    return { attempt: ended(status, null, uncertainStatuses.has(status)), retryAfter_ms };
  } catch (error) {
    const isLate = error instanceof Error && error.name === 'TimeoutError';
    const reason = isLate ? `no answer within ${timeout_ms / 1000} s` : 'no connection, or no answer';
    return { attempt: ended(null, reason, !isUnsent(error)), retryAfter_ms: undefined };
  }
}

function isUnsent(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  // A header that cannot be sent.
  if (error instanceof TypeError && cause === undefined && /header/i.test(error.message)) return true;
  return typeof cause === 'object' && cause !== null && 'code' in cause && unsent.has(String(cause.code));
}

/** `Retry-After`: seconds, or a date. */
function retryAfterOf(text: string | null, now_ms: number): number | undefined {
  if (text === null) return undefined;
  const wait_ms = /^\s*\d{1,9}\s*$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - now_ms;
  return Number.isNaN(wait_ms) ? undefined : Math.min(Math.max(wait_ms, 0), retryAfter_ms_max);
}
