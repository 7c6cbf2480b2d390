import { reasonOfError, reasonOfStatus } from './failure-reason.ts';
import type { Attempt, Observation, Reason } from './observation.ts';
import { readText } from './read-body.ts';

export type HttpTarget = {
  url: string;
  method: string;
  headers: Record<string, string>;
  body: string | undefined;
  followRedirects: number;
  /** Whether a condition reads the body. */
  needsBody: boolean;
};

export type ProbeOptions = { timeout_ms: number; now: () => number };

/** What of a body conditions can see. */
const bodyBytes_max = 64 * 1024;

/** Header fields that another origin may see. All others may hold credentials. */
const plainHeader = /^(?:accept(?:-.*)?|content-type|user-agent)$/i;

const redirectStatuses = new Set([301, 302, 303, 307, 308]);

type Request = Pick<HttpTarget, 'url' | 'method' | 'headers' | 'body'>;

/**
 * One HTTP request, and the redirects that it may follow. The time is that to the headers of the last answer.
 *
 * @param isAllowed judges each address before it is asked
 */
export async function probeHttp(
  target: HttpTarget,
  isAllowed: (url: string) => Promise<boolean>,
  { timeout_ms, now }: ProbeOptions,
): Promise<Attempt> {
  const from_ms = now();
  const signal = AbortSignal.timeout(timeout_ms);
  const failed = (reason: Reason): Attempt => ({ reason, observed: { isConnected: false } });
  let request: Request = withBasicAuth(target);
  try {
    for (let hops = 0; ; hops += 1) {
      if (!(await isAllowed(request.url))) return failed('refused-target');
      const response = await ask(request, signal);
      const observed: Observation = {
        isConnected: true,
        responseTime_ms: now() - from_ms,
        status: response.status,
        headers: new Map(response.headers),
      };
      const location = response.headers.get('location');
      if (target.followRedirects > 0 && redirectStatuses.has(response.status)) {
        await response.body?.cancel();
        const next =
          location === null || hops === target.followRedirects
            ? undefined
            : redirected(request, location, response.status);
        if (next === undefined) return { reason: 'redirects', observed };
        if (next === 'refused') return { reason: 'refused-target', observed };
        request = next;
        continue;
      }
      const failure = reasonOfStatus(response.status);
      if (!target.needsBody || failure !== undefined) {
        await response.body?.cancel();
        return {
          reason: failure ?? null,
          observed: failure === undefined ? observed : { ...observed, isConnected: false },
        };
      }
      const { text, isCut } = await readText(response, bodyBytes_max);
      return { reason: null, observed: { ...observed, body: text, isBodyCut: isCut } };
    }
  } catch (error) {
    return failed(signal.aborted ? 'timeout' : reasonOfError(error));
  }
}

async function ask({ url, method, headers, body }: Request, signal: AbortSignal): Promise<Response> {
  return await fetch(url, {
    method,
    headers: {
      'user-agent': 'timestore-monitor',
      // For caches between here and the target. `cache` is for the one of the runtime: it may answer for a dead origin.
      'cache-control': 'no-cache',
      ...headers,
    },
    ...(body !== undefined && { body }),
    redirect: 'manual',
    cache: 'no-store',
    signal,
  });
}

/** `fetch` refuses a URL with credentials. */
function withBasicAuth({ url: text, method, headers, body }: HttpTarget): Request {
  if (!URL.canParse(text)) return { url: text, method, headers, body };
  const url = new URL(text);
  if (url.username === '' && url.password === '') return { url: text, method, headers, body };
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = '';
  url.password = '';
  const authorization = `Basic ${Buffer.from(pair).toString('base64')}`;
  return { url: url.href, method, headers: { authorization, ...headers }, body };
}

/** The request that a redirect asks for. Undefined for a location that is not a URL; `refused` for one with credentials, and for a body that would go to another origin. */
function redirected(request: Request, location: string, status: number): Request | 'refused' | undefined {
  if (!URL.canParse(location, request.url)) return undefined;
  const url = new URL(location, request.url);
  if (url.username !== '' || url.password !== '') return 'refused';
  const becomesGet = status === 303 ? request.method !== 'HEAD' : status <= 302 && request.method === 'POST';
  const isSameOrigin = url.origin === new URL(request.url).origin;
  if (!isSameOrigin && !becomesGet && request.body !== undefined) return 'refused';
  const headers = Object.entries(request.headers).filter(([name]) => isSameOrigin || plainHeader.test(name));
  return {
    url: url.href,
    method: becomesGet ? 'GET' : request.method,
    headers: Object.fromEntries(headers),
    body: becomesGet ? undefined : request.body,
  };
}
