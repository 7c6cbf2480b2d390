/**
 * Timestore's public HTTP interface as a client sees it. The collector and the proof use only this interface.
 *
 * @module
 */
import { Timestore } from '../src/client/index.ts';

export const dataset = 'machine';
export const table = 'metrics';
export const adminKey = 'local-admin';

export type Answer<Body> = { status: number; headers: Headers; body: Body };

export type Accepted = { batchId: string; accepted: number; watermark: string };
export type QueryAnswer<Row> = {
  rows: Row[];
  columns: string[];
  types: string[];
  streaming: Record<string, unknown>;
  sources: { published: { rows: number }; hotBuffer: { rows: number } };
};
export type Readiness = {
  status: 'ok' | 'degraded' | 'unavailable';
  stores: Record<string, { ok: boolean; latencyMs?: number }>;
};
export type TimeRange = { start: string; end: string };

export type Api = ReturnType<typeof connect>;

const limitMs = 15_000;
/** A run of the cron handler makes passes for most of its minute. */
const cronLimitMs = 120_000;

/** `signal` aborts every call in progress. */
export function connect(url: string, signal: AbortSignal) {
  async function call<Body>(
    path: string,
    body?: unknown,
    { headers = {}, timeoutMs = limitMs }: { headers?: Record<string, string>; timeoutMs?: number } = {},
  ): Promise<Answer<Body>> {
    const response = await fetch(`${url}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        authorization: `Bearer ${adminKey}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: parse(text) as Body };
  }
  // One attempt: the collector keeps the batch and sends it again.
  const client = new Timestore({ url, key: adminKey, attempts: 1, timeoutMs: limitMs, fetch: abortableFetch(signal) });
  return {
    url,
    rows: client.table(dataset, table),
    ready: () => call<Readiness>('/ready'),
    send: (rows: object[], key: string) =>
      call<Accepted>(`/v1/datasets/${dataset}/tables/${table}/rows`, rows, {
        headers: { 'idempotency-key': key },
      }),
    query: <Row>(timeRange: TimeRange, columns: readonly string[], limit: number) =>
      call<QueryAnswer<Row>>(`/v1/datasets/${dataset}/query`, { tableName: table, timeRange, columns, limit }),
    flush: () => call<unknown>('/v1/admin/flush', { dataset, table }),
    /** Triggers the Worker's scheduled handler, as Cloudflare does in a deployment. */
    fireCron: (cron: string) =>
      call<unknown>(`/cdn-cgi/local/scheduled?cron=${encodeURIComponent(cron)}`, undefined, { timeoutMs: cronLimitMs }),
  };
}

function abortableFetch(signal: AbortSignal): typeof fetch {
  return (input, init) =>
    fetch(input, { ...init, signal: AbortSignal.any([signal, ...(init?.signal ? [init.signal] : [])]) });
}

/** Status and body of an answer in one line, for a person. */
export function describeAnswer({ status, body }: Answer<unknown>): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return `${status} ${text.length > 400 ? `${text.slice(0, 400)}…` : text}`;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
