import { ApiError } from '../../core/errors.ts';
import type { OperationDeps } from '../deps.ts';

/** Body, headers and abort signal of a request to the source system. */
type Sent = { body: Uint8Array<ArrayBuffer> | string; headers: Record<string, string>; signal: AbortSignal };

/**
 * Sends a request to the source system, from which datasets are taken over. Returns any answer except a redirection. The
 * answer has to begin within the time limit; `signal` aborts the request.
 *
 * @throws TimestoreError `unavailable` without an answer, `misconfigured` if the deployment has no source system
 */
export async function askSource(
  ctx: OperationDeps,
  path: string,
  { body, headers, signal }: Sent,
): Promise<globalThis.Response> {
  const { TIMESTORE_ORIGIN_URL: url, TIMESTORE_ORIGIN_KEY: key, limits } = ctx.config;
  if (url === undefined || key === undefined) throw sourceUnavailable();
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), limits.origin_timeout_ms);
  try {
    const answer = await fetch(`${url.replace(/\/$/, '')}${path}`, {
      method: 'POST',
      headers: { ...headers, authorization: `Bearer ${key}`, 'user-agent': 'timestore' },
      body,
      // A redirection could send the key to another system.
      redirect: 'manual',
      signal: AbortSignal.any([limit.signal, signal]),
    });
    if (answer.status >= 200 && (answer.status < 300 || answer.status >= 400)) return answer;
    await answer.body?.cancel();
    throw unavailable(`answered with status ${answer.status}`, undefined);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    const failure = limit.signal.aborted ? `did not answer within ${limits.origin_timeout_ms} ms` : 'did not answer';
    throw unavailable(failure, error);
  } finally {
    clearTimeout(timer);
  }
}

/** The error for a request that needs the source system in a deployment without one. */
export function sourceUnavailable(): ApiError {
  return new ApiError(
    'misconfigured',
    'This deployment has no source system to take datasets over from: set TIMESTORE_ORIGIN_URL and TIMESTORE_ORIGIN_KEY.',
  );
}

function unavailable(failure: string, cause: unknown): ApiError {
  const detail = `The source system of this dataset ${failure}. Try again shortly.`;
  return new ApiError('unavailable', detail, { retryAfterMs: 1_000, cause });
}

const retryAfter_ms_max = 600_000;

/** `Retry-After` of an answer, in seconds or as a date; 0 without a valid value. */
export function retryAfter_ms(headers: Headers, now_ms: number): number {
  const value = headers.get('retry-after') ?? '';
  const wait_ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - now_ms;
  return Number.isNaN(wait_ms) ? 0 : Math.min(Math.max(wait_ms, 0), retryAfter_ms_max);
}

const problemBytes_max = 16 * 1024;

/** Type and detail of an error answer, from its first bytes. */
export async function readProblem(answer: globalThis.Response): Promise<{ type: string; detail: string }> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of answer.body ?? []) {
    parts.push(part);
    bytes += part.length;
    if (bytes >= problemBytes_max) break;
  }
  const text = Buffer.concat(parts).toString();
  try {
    const { type, detail, error, message } = JSON.parse(text) as Record<string, unknown>;
    return { type: String(type ?? ''), detail: String(detail ?? message ?? error ?? '').slice(0, 300) };
  } catch {
    return { type: '', detail: '' };
  }
}
