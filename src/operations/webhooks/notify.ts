import * as z from 'zod';
import type { OperationDeps, OperationStep } from '../deps.ts';
import { addressProblem } from './address.ts';
import { readWebhook } from './webhook.ts';

const requestSchema = z.object({ webhook: z.string(), event: z.record(z.string(), z.unknown()) });

const attempt = z.object({
  at: z.string(),
  status: z.number().nullable(),
  took_ms: z.number(),
  error: z.string().nullable(),
});

export type DeliveryAttempt = z.output<typeof attempt>;

const progressSchema = z.object({ attempts: z.array(attempt).default([]) });

const timeout_ms = 10_000;
const seconds = 1_000;
const minutes = 60 * seconds;
const hours = 60 * minutes;
/** After each attempt that failed; a day and a half in all. */
const waits_ms = [5 * seconds, 30 * seconds, 2 * minutes, 10 * minutes, hours, 3 * hours, 8 * hours, 24 * hours];

/**
 * Tells one webhook of one event, again and again until it answers 2xx. It may be told twice: `webhook-id` is the same then.
 * Signed as https://www.standardwebhooks.com has it.
 */
export const notifyStep: OperationStep<'notify'> = async (ctx, job) => {
  const { webhook: id, event } = requestSchema.parse(job.request);
  const { attempts } = progressSchema.parse(job.progress);
  const webhook = await readWebhook(ctx, id);
  // It may be older than what the deployment allows by now.
  const problem = addressProblem(webhook.url, ctx.config);
  if (problem !== undefined)
    return { failed: `The event was not sent to the webhook: ${problem}.`, progress: { attempts } };
  const made = await post(ctx, webhook, job.id, JSON.stringify(event));
  const all = [...attempts, made];
  if (made.status !== null && made.status >= 200 && made.status < 300) {
    return { done: { delivered: true, status: made.status, attempts: all } };
  }
  const wait_ms = waits_ms[attempts.length];
  // Whoever answers that it is gone for good is not asked again.
  if (wait_ms !== undefined && made.status !== 410) return { progress: { attempts: all }, wait_ms };
  const why = made.status === null ? made.error : `status ${made.status}`;
  return { failed: `The webhook did not take the event: ${why}.`, progress: { attempts: all } };
};

async function post(
  ctx: OperationDeps,
  { url, secret }: { url: string; secret: string },
  id: string,
  body: string,
): Promise<DeliveryAttempt> {
  const from_ms = ctx.now();
  const at = new Date(from_ms).toISOString();
  const timestamp = Math.floor(from_ms / 1000);
  const signature = await sign(secret, `${id}.${timestamp}.${body}`);
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'timestore',
        'webhook-id': id,
        'webhook-timestamp': String(timestamp),
        'webhook-signature': `v1,${signature}`,
      },
      body,
      // Where it leads to is not what was agreed on.
      redirect: 'manual',
      signal: AbortSignal.timeout(timeout_ms),
    });
    await response.body?.cancel();
    return { at, status: response.status, took_ms: ctx.now() - from_ms, error: null };
  } catch (error) {
    const isLate = error instanceof Error && error.name === 'TimeoutError';
    const reason = isLate ? `no answer within ${timeout_ms / 1000} s` : 'it cannot be reached';
    return { at, status: null, took_ms: ctx.now() - from_ms, error: reason };
  }
}

/** HMAC-SHA-256 in base64, with the key that `whsec_` stands before. */
export async function sign(secret: string, text: string): Promise<string> {
  const bytes = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const key = await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return Buffer.from(await crypto.subtle.sign('HMAC', key, Buffer.from(text))).toString('base64');
}
