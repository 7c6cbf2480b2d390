import { ApiError } from '../../core/errors.ts';
import type { OperationDeps } from '../deps.ts';

/** What a request to the original has beside its path. */
type Sent = { body: Uint8Array<ArrayBuffer> | string; headers: Record<string, string>; signal: AbortSignal };

/**
 * Sends a request to the system that datasets are taken over from. It may answer with any status but one that leads
 * elsewhere; within the time limit it has to begin with its answer, and `signal` takes it back.
 *
 * @throws TimestoreError `unavailable` when it does not answer, `misconfigured` where the deployment knows none
 */
export async function askSource(
  ctx: OperationDeps,
  path: string,
  { body, headers, signal }: Sent,
): Promise<globalThis.Response> {
  const { TIMESTORE_ORIGIN_URL: url, TIMESTORE_ORIGIN_KEY: key, limits } = ctx.config;
  if (url === undefined || key === undefined) throw sourceUnavailable();
  const begun = new AbortController();
  const timer = setTimeout(() => begun.abort(), limits.origin_timeout_ms);
  try {
    const answer = await fetch(`${url.replace(/\/$/, '')}${path}`, {
      method: 'POST',
      headers: { ...headers, authorization: `Bearer ${key}`, 'user-agent': 'timestore' },
      body,
      // Where it leads to is not what was agreed on.
      redirect: 'manual',
      signal: AbortSignal.any([begun.signal, signal]),
    });
    if (answer.status >= 200 && (answer.status < 300 || answer.status >= 400)) return answer;
    await answer.body?.cancel();
    throw away(`answered with status ${answer.status}`, undefined);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    const did = begun.signal.aborted ? `did not answer within ${limits.origin_timeout_ms} ms` : 'did not answer';
    throw away(did, error);
  } finally {
    clearTimeout(timer);
  }
}

/** Where somebody wants of a dataset what needs the original. */
export function sourceUnavailable(): ApiError {
  return new ApiError(
    'misconfigured',
    'This deployment knows no system to take datasets over from: set TIMESTORE_ORIGIN_URL and TIMESTORE_ORIGIN_KEY.',
  );
}

function away(did: string, cause: unknown): ApiError {
  const detail = `The system that this dataset is taken over from ${did}. Try again shortly.`;
  return new ApiError('unavailable', detail, { retryAfterMs: 1_000, cause });
}

const retryAfter_ms_max = 600_000;

/** `Retry-After` of an answer, in seconds or as a date; 0 where it says nothing. */
export function retryAfter_ms(headers: Headers, now_ms: number): number {
  const said = headers.get('retry-after') ?? '';
  const wait_ms = /^\d+$/.test(said) ? Number(said) * 1_000 : Date.parse(said) - now_ms;
  return Number.isNaN(wait_ms) ? 0 : Math.min(Math.max(wait_ms, 0), retryAfter_ms_max);
}

const problemBytes_max = 16 * 1024;

/** What an answer that refuses says of itself, in its first bytes. */
export async function problemOf(answer: globalThis.Response): Promise<{ type: string; detail: string }> {
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
