import { cancelOnAbort, isQuery } from './cancel-on-abort.ts';
import { readAnswer } from './columns.ts';
import { parseProblem, TimestoreError } from './errors.ts';
import { bodyText } from './write.ts';

export type ClientOptions = {
  /** The address of the deployment, such as `https://timestore.example.com`. */
  url: string;
  key: string;
  /** Time limit of an answer, or of the start of a streamed answer; default 60 s. */
  timeoutMs?: number;
  /** Maximum number of attempts of a request; default 5. */
  attempts?: number;
  /** Maximum delay between two attempts; default 30 s. */
  retryMsMax?: number;
  /** Whether long bodies are compressed; default true. On a local connection it costs more than it saves. */
  compress?: boolean;
  /** The `fetch` implementation; default that of the runtime. */
  fetch?: typeof fetch;
};

export type Call = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Begins with `/v1`. */
  path: string;
  query?: Record<string, string | number | undefined> | undefined;
  headers?: Record<string, string> | undefined;
  /** A value to send as JSON; with `type`, text or bytes to send unchanged. */
  body?: unknown;
  type?: string | undefined;
  /** Whether the request is idempotent, so that it is retried after a temporary failure. */
  isRepeatable: boolean;
  signal?: AbortSignal | undefined;
};

const timeout_ms = 60_000;
const attempts_max = 5;
const firstPause_ms = 200;
const retry_ms_max = 30_000;
const cancelPauses_ms = [0, 200, 400];
const cancelTimeout_ms = 2_000;
const compressedChars_min = 16 * 1024;

/** Sends requests, and retries idempotent ones after temporary failures. */
export class Transport {
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = { ...options, url: options.url.replace(/\/+$/, '') };
  }

  /** Sends a request. Throws TimestoreError for an error response, and the reason of an aborted `signal`. */
  async send(call: Call): Promise<Response> {
    const { attempts = attempts_max, retryMsMax = retry_ms_max } = this.#options;
    const body = await encodeBody(call, this.#options.compress ?? true);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#once(call, body);
      } catch (error) {
        if (!(error instanceof TimestoreError) || !error.retryable || !call.isRepeatable || attempt >= attempts) {
          throw error;
        }
        // The delay of the answer, at least an exponential backoff with jitter.
        const pause = Math.min(retryMsMax, firstPause_ms * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
        await delay(Math.min(retryMsMax, Math.max(pause, error.retryAfterMs ?? 0)), call.signal);
      }
    }
  }

  /** Sends a request and parses its JSON: numbers by the types of their columns, integers beyond 2^53 as `bigint`. */
  async json<Answer>(call: Call): Promise<Answer> {
    return await parseAnswer<Answer>(await this.send(call));
  }

  async #once(call: Call, body: Body): Promise<Response> {
    const { url, key, timeoutMs: limit_ms = timeout_ms, fetch: send = globalThis.fetch } = this.#options;
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined) query.set(name, String(value));
    }
    const id = call.headers?.['x-request-id'] ?? crypto.randomUUID();
    const cancellation = isQuery(call.method, call.path)
      ? cancelOnAbort(call.signal, () => void this.#cancel(id).catch(() => undefined))
      : undefined;
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), limit_ms);
    const signals = call.signal === undefined ? [timeout.signal] : [timeout.signal, call.signal];
    let response: Response;
    try {
      response = await send(`${url}${call.path}${query.size > 0 ? `?${query}` : ''}`, {
        method: call.method,
        headers: {
          ...(cancellation !== undefined && { 'x-request-id': id }),
          ...call.headers,
          ...body.headers,
          authorization: `Bearer ${key}`,
        },
        ...(body.content !== undefined && { body: body.content }),
        // The timer ends with the start of the answer; the signal of the caller also aborts a stream.
        signal: AbortSignal.any(signals),
      });
    } catch (error) {
      if (timeout.signal.aborted) cancellation?.giveUp();
      else cancellation?.end();
      call.signal?.throwIfAborted();
      if (timeout.signal.aborted) {
        throw new TimestoreError('timeout', `No answer within ${limit_ms} ms.`, { retryable: true, cause: error });
      }
      throw new TimestoreError('network', `${url} is unreachable`, { retryable: true, cause: error });
    } finally {
      clearTimeout(timer);
    }
    if (response.ok) return cancellation === undefined ? response : cancellation.through(response);
    cancellation?.end();
    throw parseProblem(response.status, await response.text().catch(() => ''), response.headers.get('retry-after'));
  }

  /** Cancels a query on the server. Retries while the server does not know a query that was just sent. */
  async #cancel(id: string): Promise<void> {
    const { url, key, fetch: send = globalThis.fetch } = this.#options;
    for (const pause of cancelPauses_ms) {
      await delay(pause, undefined);
      const { status, body } = await send(`${url}/v1/queries/${encodeURIComponent(id)}`, {
        method: 'DELETE',
        headers: { authorization: `Bearer ${key}` },
        signal: AbortSignal.timeout(cancelTimeout_ms),
      });
      await body?.cancel();
      if (status !== 404) return;
    }
  }
}

/** Parses an answer. Throws TimestoreError `malformed-answer`. */
export async function parseAnswer<Answer>(response: Response): Promise<Answer> {
  try {
    return readAnswer(await response.text()) as Answer;
  } catch (error) {
    throw new TimestoreError('malformed-answer', 'The answer is truncated or not JSON.', {
      status: response.status,
      retryable: true,
      cause: error,
    });
  }
}

type Body = { content: string | Uint8Array<ArrayBuffer> | undefined; headers: Record<string, string> };

async function encodeBody({ body, type }: Call, compress: boolean): Promise<Body> {
  if (body === undefined) return { content: undefined, headers: {} };
  const isText = typeof body === 'string' && type !== undefined;
  const plain = isText || body instanceof Uint8Array ? (body as string | Uint8Array<ArrayBuffer>) : bodyText(body);
  const headers = { 'content-type': type ?? 'application/json' };
  if (!compress || plain.length < compressedChars_min || typeof CompressionStream === 'undefined')
    return { content: plain, headers };
  const packed = new Blob([plain]).stream().pipeThrough(new CompressionStream('gzip'));
  const content = new Uint8Array(await new Response(packed).arrayBuffer());
  return { content, headers: { ...headers, 'content-encoding': 'gzip' } };
}

function delay(ms: number, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const abort = () => {
    clearTimeout(timer);
    reject(signal?.reason);
  };
  if (signal?.aborted) abort();
  else signal?.addEventListener('abort', abort, { once: true });
  return promise.finally(() => signal?.removeEventListener('abort', abort));
}
