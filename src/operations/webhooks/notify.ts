import * as z from 'zod';
import { defineJob } from '../../jobs/definition.ts';
import type { OperationDeps, OperationStep } from '../deps.ts';
import { addressProblem } from './address.ts';
import { signedHeaders } from './signature.ts';
import { readWebhook } from './webhook.ts';

const attempt = z.object({
  at: z.string(),
  status: z.number().nullable(),
  took_ms: z.number(),
  error: z.string().nullable(),
});

export type DeliveryAttempt = z.output<typeof attempt>;

export const notifyJob = defineJob({
  kinds: ['notify'],
  request: z.object({ webhook: z.string(), event: z.record(z.string(), z.unknown()) }),
  progress: z.object({ attempts: z.array(attempt).default([]) }),
  result: z.object({ delivered: z.boolean(), status: z.number(), attempts: z.array(attempt) }),
});

const timeout_ms = 10_000;
const seconds = 1_000;
const minutes = 60 * seconds;
const hours = 60 * minutes;
/** Waits after failed attempts, a day and a half in total. */
const waits_ms = [5 * seconds, 30 * seconds, 2 * minutes, 10 * minutes, hours, 3 * hours, 8 * hours, 24 * hours];

/**
 * Delivers one event to one webhook, with retries until it answers 2xx. An event may be delivered twice, with the same
 * `webhook-id`. Signed as https://www.standardwebhooks.com specifies.
 */
export const notifyStep: OperationStep<typeof notifyJob> = async (ctx, job) => {
  const { webhook: id, event } = job.request;
  const { attempts } = job.progress;
  const webhook = await readWebhook(ctx, id);
  // The deployment's rules may have changed since the webhook was created.
  const problem = addressProblem(webhook.url, ctx.config);
  if (problem !== undefined)
    return { failed: `The event was not sent to the webhook: ${problem}.`, progress: { attempts } };
  const latest = await post(ctx, webhook, job.id, JSON.stringify(event));
  const all = [...attempts, latest];
  if (latest.status !== null && latest.status >= 200 && latest.status < 300) {
    return { done: { delivered: true, status: latest.status, attempts: all } };
  }
  const wait_ms = waits_ms[attempts.length];
  // 410 Gone is permanent, so it ends the retries.
  if (wait_ms !== undefined && latest.status !== 410) return { progress: { attempts: all }, wait_ms };
  const why = latest.status === null ? latest.error : `status ${latest.status}`;
  return { failed: `The webhook did not accept the event: ${why}.`, progress: { attempts: all } };
};

async function post(
  ctx: OperationDeps,
  { url, secret }: { url: string; secret: string },
  id: string,
  body: string,
): Promise<DeliveryAttempt> {
  const from_ms = ctx.now();
  const at = new Date(from_ms).toISOString();
  const headers = await signedHeaders(secret, id, from_ms, body);
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': 'timestore', ...headers },
      body,
      // A redirection could lead to an address that is not allowed.
      redirect: 'manual',
      signal: AbortSignal.timeout(timeout_ms),
    });
    await response.body?.cancel();
    return { at, status: response.status, took_ms: ctx.now() - from_ms, error: null };
  } catch (error) {
    const isLate = error instanceof Error && error.name === 'TimeoutError';
    const reason = isLate ? `no answer within ${timeout_ms / 1000} s` : 'it is unreachable';
    return { at, status: null, took_ms: ctx.now() - from_ms, error: reason };
  }
}
