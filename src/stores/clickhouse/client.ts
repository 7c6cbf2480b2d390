import { createClient, ClickHouseError as Refusal } from '@clickhouse/client-web';
import { StoreError } from '../../core/errors.ts';
import { traceparent } from '../../core/trace.ts';

/** ClickHouse rejected a statement. The message may contain SQL and values, so it is for the log only. */
export class ClickHouseError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.name = 'ClickHouseError';
    this.code = code;
  }
}

export const clickhouseCodes = {
  readAfterEnd: 32,
  cannotReadAll: 33,
  unknownIdentifier: 47,
  typeMismatch: 53,
  decimalOverflow: 407,
  illegalTypeOfArgument: 43,
  noCommonType: 386,
  unknownTable: 60,
  unknownDatabase: 81,
  noSuchColumnInTable: 16,
  accessDenied: 497,
  queryWasCancelled: 394,
  timeoutExceeded: 159,
  tooSlow: 160,
  memoryLimit: 241,
  tooManyRowsOrBytes: 396,
  tooDeepAst: 167,
  tooBigAst: 168,
  tooDeepRecursion: 306,
  tooDeepPipeline: 361,
  tooManyQueries: 202,
  syntaxError: 62,
  tableIsReadOnly: 242,
  tooFewLiveReplicas: 285,
  replicaIsNotInQuorum: 289,
  socketTimeout: 209,
  networkError: 210,
  allConnectionTriesFailed: 279,
  keeperException: 999,
} as const;

export type Settings = Record<string, string | number>;

export type Request = {
  /** Settings and parameters (`param_<name>`) of the statement. */
  settings: Settings;
  body: string | Uint8Array | FormData;
  timeout_ms: number;
};

/** A response whose body has begun. */
export type Opened = {
  body: ReadableStream<Uint8Array>;
  /** Delimits an error in the body that came too late for the status. */
  exceptionTag: string | undefined;
};

export type ClickHouse = {
  /** Sends a statement unchanged and resolves with the first rows; `signal` cancels it. */
  open(request: Request & { signal: AbortSignal }): Promise<Opened>;
  /** Sends a statement unchanged and returns the response text, for requests that the official client does not support. */
  send(request: Request): Promise<string>;
  /** Runs a statement without a result, such as DDL. Values are `{name:Type}` parameters. */
  command(sql: string, params?: Record<string, unknown>): Promise<void>;
  /** Rows of a SELECT as objects; 64-bit integers are strings. */
  rows<Row>(sql: string, params?: Record<string, unknown>, settings?: Settings): Promise<Row[]>;
};

const commandTimeout_ms = 15_000;
/** The definition of a table with the maximum of fields and name lengths has half a megabyte. */
const commandBytes_max = 8 * 1024 * 1024;

/**
 * A client for one user. Throws StoreError if ClickHouse is unavailable, ClickHouseError if it rejects a statement.
 *
 * @param common returns the settings of every statement
 */
export function createClickHouse(
  url: string,
  username: string,
  password: string,
  common: () => Promise<Settings> = async () => ({}),
): ClickHouse {
  const client = createClient({
    url,
    username,
    password,
    request_timeout: commandTimeout_ms,
    keep_alive: { enabled: true },
  });
  const post = async ({ settings, body }: Request, signal: AbortSignal): Promise<Response> => {
    const values = Object.entries({ ...(await common()), ...settings }).map(([name, value]) => [name, String(value)]);
    const query = new URLSearchParams(values);
    const response = await withStoreErrors(() =>
      fetch(`${url}/?${query}`, {
        method: 'POST',
        headers: { 'X-ClickHouse-User': username, 'X-ClickHouse-Key': password, ...traceHeaders() },
        body,
        signal,
      }),
    );
    const code = response.headers.get('X-ClickHouse-Exception-Code');
    if (code !== null) throw new ClickHouseError(Number(code), await withStoreErrors(() => response.text()));
    if (response.status === 200) return response;
    await response.body?.cancel();
    throw new StoreError('clickhouse', 'did not answer', new Error(`status ${response.status}`));
  };
  return {
    async open({ signal, ...request }) {
      const response = await post(request, AbortSignal.any([signal, AbortSignal.timeout(request.timeout_ms)]));
      const exceptionTag = response.headers.get('X-ClickHouse-Exception-Tag') ?? undefined;
      return { body: response.body ?? new Blob().stream(), exceptionTag };
    },
    async send(request) {
      const response = await post(request, AbortSignal.timeout(request.timeout_ms));
      return await withStoreErrors(() => response.text());
    },
    async command(sql, params = {}) {
      const clickhouse_settings = { ...(await common()), max_query_size: String(commandBytes_max) };
      const http_headers = traceHeaders();
      await withStoreErrors(() =>
        client.command({ query: sql, query_params: params, clickhouse_settings, http_headers }),
      );
    },
    async rows<Row>(sql: string, params: Record<string, unknown> = {}, settings: Settings = {}) {
      const all = await common();
      return await withStoreErrors(async () => {
        const result = await client.query({
          query: sql,
          query_params: params,
          clickhouse_settings: { ...all, output_format_json_quote_64bit_integers: 1, ...settings },
          format: 'JSONEachRow',
          http_headers: traceHeaders(),
        });
        return await result.json<Row>();
      });
    },
  };
}

/** ClickHouse adds its spans of a traced request to `system.opentelemetry_span_log` if that is enabled. */
function traceHeaders(): Record<string, string> {
  const parent = traceparent();
  return parent === undefined ? {} : { traceparent: parent };
}

/** Distinguishes a rejected statement, which has a code, from an unavailable server. */
async function withStoreErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    // By class, because a timeout has a code too: the legacy code of DOMException.
    if (error instanceof Refusal) throw new ClickHouseError(Number(error.code), error.message);
    throw new StoreError('clickhouse', 'did not answer', error);
  }
}
