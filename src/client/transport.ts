import { readAnswer } from './columns.ts';
import { errorOf, TimestoreError } from './errors.ts';
import { isQuery, takingBack } from './taking-back.ts';
import { bodyText } from './write.ts';

export type ClientOptions = {
  /** Where the deployment is, such as `https://timestore.example.com`. */
  url: string;
  key: string;
  /** Of an answer, or of its beginning where it is streamed; 60 s by default. */
  timeoutMs?: number;
  /** How often a request is sent at most, and how long at most it is waited between; 5 times and 30 s by default. */
  attempts?: number;
  retryMsMax?: number;
  /** Whether long bodies go compressed; they do by default. On one machine it costs more than it saves. */
  compress?: boolean;
  /** What requests are sent with; the runtime's own by default. */
  fetch?: typeof fetch;
};

export type Call = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** From `/v1` on. */
  path: string;
  query?: Record<string, string | number | undefined> | undefined;
  headers?: Record<string, string> | undefined;
  /** JSON, or text and bytes as they are where `type` says what. */
  body?: unknown;
  type?: string | undefined;
  /** Whether sending it twice is the same as once: then it is sent again after a failure that may pass. */
  isRepeatable: boolean;
  signal?: AbortSignal | undefined;
};

const timeoutMs = 60_000;
const attemptsMost = 5;
const firstMs = 200;
const retryMsMost = 30_000;
const cancelPausesMs = [0, 200, 400];
const cancelLimitMs = 2_000;
/** From here on a body goes compressed. */
const compressedChars = 16 * 1024;

/** Sends requests, and sends them again where that is safe and may help. */
export class Transport {
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = { ...options, url: options.url.replace(/\/+$/, '') };
  }

  /**
   * An answer that is a success.
   *
   * @throws TimestoreError; whatever `signal` was aborted with
   */
  async send(call: Call): Promise<Response> {
    const { attempts = attemptsMost, retryMsMax = retryMsMost } = this.#options;
    const body = await bodyOf(call, this.#options.compress ?? true);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#once(call, body);
      } catch (error) {
        if (!(error instanceof TimestoreError) || !error.retryable || !call.isRepeatable || attempt >= attempts) {
          throw error;
        }
        // As long as the answer says; else twice as long each time, and not all at the same moment.
        const pause = Math.min(retryMsMax, firstMs * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
        await delay(Math.min(retryMsMax, Math.max(pause, error.retryAfterMs ?? 0)), call.signal);
      }
    }
  }

  /** The same, its JSON read: numbers by the types of their columns, integers beyond 2^53 as `bigint`. */
  async json<Answer>(call: Call): Promise<Answer> {
    return await jsonOf<Answer>(await this.send(call));
  }

  async #once(call: Call, body: Body): Promise<Response> {
    const { url, key, timeoutMs: most = timeoutMs, fetch: send = globalThis.fetch } = this.#options;
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined) query.set(name, String(value));
    }
    const id = call.headers?.['x-request-id'] ?? crypto.randomUUID();
    const asked = isQuery(call.method, call.path)
      ? takingBack(call.signal, () => void this.#cancel(id).catch(() => undefined))
      : undefined;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), most);
    const signals = call.signal === undefined ? [late.signal] : [late.signal, call.signal];
    let response: Response;
    try {
      response = await send(`${url}${call.path}${query.size > 0 ? `?${query}` : ''}`, {
        method: call.method,
        headers: {
          ...(asked !== undefined && { 'x-request-id': id }),
          ...call.headers,
          ...body.headers,
          authorization: `Bearer ${key}`,
        },
        ...(body.content !== undefined && { body: body.content }),
        // The timer ends with the answer's beginning; who asked may take a stream back later.
        signal: AbortSignal.any(signals),
      });
    } catch (error) {
      if (late.signal.aborted) asked?.giveUp();
      else asked?.end();
      call.signal?.throwIfAborted();
      if (late.signal.aborted) {
        throw new TimestoreError('timeout', `No answer came within ${most} ms.`, { retryable: true, cause: error });
      }
      throw new TimestoreError('network', `${url} cannot be reached`, { retryable: true, cause: error });
    } finally {
      clearTimeout(timer);
    }
    if (response.ok) return asked === undefined ? response : asked.through(response);
    asked?.end();
    throw errorOf(response.status, await response.text().catch(() => ''), response.headers.get('retry-after'));
  }

  /** Has the server end a query that nobody waits for. It may have been sent a moment ago, and not be known there yet. */
  async #cancel(id: string): Promise<void> {
    const { url, key, fetch: send = globalThis.fetch } = this.#options;
    for (const pause of cancelPausesMs) {
      await delay(pause, undefined);
      const { status, body } = await send(`${url}/v1/queries/${encodeURIComponent(id)}`, {
        method: 'DELETE',
        headers: { authorization: `Bearer ${key}` },
        signal: AbortSignal.timeout(cancelLimitMs),
      });
      await body?.cancel();
      if (status !== 404) return;
    }
  }
}

/** The JSON of an answer. Throws TimestoreError `malformed-answer`. */
export async function jsonOf<Answer>(response: Response): Promise<Answer> {
  try {
    return readAnswer(await response.text()) as Answer;
  } catch (error) {
    throw new TimestoreError('malformed-answer', 'The answer broke off or is no JSON.', {
      status: response.status,
      retryable: true,
      cause: error,
    });
  }
}

type Body = { content: string | Uint8Array<ArrayBuffer> | undefined; headers: Record<string, string> };

async function bodyOf({ body, type }: Call, compress: boolean): Promise<Body> {
  if (body === undefined) return { content: undefined, headers: {} };
  const isText = typeof body === 'string' && type !== undefined;
  const plain = isText || body instanceof Uint8Array ? (body as string | Uint8Array<ArrayBuffer>) : bodyText(body);
  const headers = { 'content-type': type ?? 'application/json' };
  if (!compress || plain.length < compressedChars || typeof CompressionStream === 'undefined')
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
