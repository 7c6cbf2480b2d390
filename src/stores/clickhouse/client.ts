import { createClient, ClickHouseError as Refusal } from '@clickhouse/client-web';
import { StoreError } from '../../core/errors.ts';
import { traceparent } from '../../core/trace.ts';

/** ClickHouse refused a statement. `code` is its error code; its words may hold SQL and values, so they are for the log. */
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

/** An answer that has begun. */
export type Opened = {
  body: ReadableStream<Uint8Array>;
  /** What stands before and after the words of an error that came too late for a status. */
  exceptionTag: string | undefined;
};

export type ClickHouse = {
  /** Sends a statement as it is and answers as soon as the first rows are there; `signal` takes it back. */
  open(request: Request & { signal: AbortSignal }): Promise<Opened>;
  /** Sends a statement as it is and answers with the text that came. For what the official client does not do. */
  send(request: Request): Promise<string>;
  /** A statement without an answer, such as DDL. Values come as `{name:Type}` parameters. */
  command(sql: string, params?: Record<string, unknown>): Promise<void>;
  /** Rows of a SELECT as objects; 64-bit integers are strings. */
  rows<Row>(sql: string, params?: Record<string, unknown>, settings?: Settings): Promise<Row[]>;
};

const commandTimeout_ms = 15_000;
/** A table of as many fields as there may be, with names as long as they may be, has half a megabyte of definition. */
const commandBytes_max = 8 * 1024 * 1024;

/**
 * One user's access. Throws StoreError where ClickHouse is away and ClickHouseError where it refuses.
 *
 * @param common settings of every statement, which may have to be found out
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
    const response = await answered(() =>
      fetch(`${url}/?${query}`, {
        method: 'POST',
        headers: { 'X-ClickHouse-User': username, 'X-ClickHouse-Key': password, ...traceHeaders() },
        body,
        signal,
      }),
    );
    const code = response.headers.get('X-ClickHouse-Exception-Code');
    if (code !== null) throw new ClickHouseError(Number(code), await answered(() => response.text()));
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
      return await answered(() => response.text());
    },
    async command(sql, params = {}) {
      const clickhouse_settings = { ...(await common()), max_query_size: String(commandBytes_max) };
      const http_headers = traceHeaders();
      await answered(() => client.command({ query: sql, query_params: params, clickhouse_settings, http_headers }));
    },
    async rows<Row>(sql: string, params: Record<string, unknown> = {}, settings: Settings = {}) {
      const all = await common();
      return await answered(async () => {
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

/** What ClickHouse did for a request is in its own `system.opentelemetry_span_log`, where that is on. */
function traceHeaders(): Record<string, string> {
  const parent = traceparent();
  return parent === undefined ? {} : { traceparent: parent };
}

/** Tells a refusal, which has a code, from an engine that is away. */
async function answered<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    // By its class: a request that took too long has a code as well, the one that browsers gave such errors once.
    if (error instanceof Refusal) throw new ClickHouseError(Number(error.code), error.message);
    throw new StoreError('clickhouse', 'did not answer', error);
  }
}
