import { rowsOf } from './lines.ts';
import { type Call, type ClientOptions, jsonOf, Transport } from './transport.ts';
import type { Query, Sql } from './types.ts';
import { Watermarks } from './watermarks.ts';
import { queryBody, rowText } from './write.ts';
import { Writer, type WriterOptions } from './writer.ts';

/**
 * A row as it is sent: numbers, `bigint`, strings, booleans, `Date`, lists and objects, `Set`, `Map` and typed arrays. What is
 * none of them is refused before anything is sent.
 */
export type Row = Record<string, unknown>;

export type WriteOptions = {
  /** The same key with the same rows is accepted once, however often it is sent; one is made if left out. */
  idempotencyKey?: string;
  ack?: 'buffered' | 'durable' | 'flushed';
  onError?: 'reject' | 'quarantine';
  /** Names in the rows, and the names of the fields that they are stored in. */
  rename?: Record<string, string>;
  signal?: AbortSignal;
};

export type Accepted = {
  batchId: string;
  accepted: number;
  rejected: number;
  quarantined: number;
  errors: { index: number; field: string | null; reason: string; detail?: string }[];
  replayed: boolean;
  chunks?: number;
  watermark: string;
};

type Rest = Pick<Call, 'query' | 'headers' | 'body' | 'signal'> & {
  /** That sending it twice is the same as once, which is known of `GET`, `PUT` and `DELETE`. */
  isRepeatable?: boolean;
};

type Reading = {
  /** False for a read that need not have what this client has written and read before. */
  seesOwn?: boolean;
  signal?: AbortSignal;
};

export type Streaming = {
  bufferState: 'ready' | 'unavailable' | 'too-large' | 'skipped';
  /** Null for a key with a row filter. */
  rows: number | null;
  fresh: boolean;
  exactness: 'fenced' | 'validated' | 'none';
};

export type QueryAnswer<Read> = {
  rows: Read[];
  columns: string[];
  types: string[];
  mode: 'raw' | 'downsampled';
  warnings: string[];
  cursor?: string | null;
  streaming: Streaming;
  sources: { published: { rows: number; partitions: number }; hotBuffer: { rows: number } };
  latest_ingest_watermark: string | null;
};

export type SqlAnswer<Read> = {
  rows: Read[];
  columns: { name: string; type: string }[];
  warnings: string[];
  streaming: Streaming;
  /** What counts rows that a key with a row filter may not read is null for it. */
  statistics: { rows: number; elapsedMs: number; rowsRead: number | null; tailRows: number | null };
  latest_ingest_watermark: string | null;
};

export type Receipt = {
  batchId: string;
  dataset: string;
  table: string;
  state: 'buffered' | 'flushed' | 'verified' | 'lost' | 'unknown';
  manifest: string | null;
  quarantined: number | null;
};

/**
 * A deployment of Timestore, as a program has it. Each write has a key, so that it can be sent again; reads have what this
 * client has written, or say why not.
 *
 * @example
 * const timestore = new Timestore({ url: 'https://timestore.example.com', key: 'ts_…' });
 * const readings = timestore.table('plant', 'readings');
 * await readings.write([{ timestamp: new Date(), sensor: 'a', celsius: 21.5 }]);
 * const { rows } = await readings.query({ limit: 10 });
 */
export class Timestore {
  readonly #transport: Transport;
  readonly #watermarks = new Watermarks();

  constructor(options: ClientOptions) {
    this.#transport = new Transport(options);
  }

  /** A table, there or not: the first rows make it. */
  table<Read extends object = Row>(dataset: string, name: string): Table<Read> {
    return new Table<Read>(this.#transport, this.#watermarks, dataset, name);
  }

  /**
   * SQL over any tables that the key reads. Its answer has what this client has written to the tables in `sees`, each
   * `dataset.table`: what tables a statement names is for the server to find out.
   *
   * @throws TimestoreError
   */
  async sql<Read extends object = Row>(
    text: string,
    { sees = [], signal, ...body }: Sql & { sees?: string[]; signal?: AbortSignal } = {},
  ): Promise<SqlAnswer<Read>> {
    const required = [...this.#watermarks.of(sees), ...[body.minWatermark ?? []].flat()];
    return await this.#watermarks.heard(sees, () =>
      this.#transport.json<SqlAnswer<Read>>({
        method: 'POST',
        path: '/v1/sql',
        isRepeatable: true,
        signal,
        body: queryBody({ ...body, sql: text, ...(required.length > 0 && { minWatermark: required }) }),
      }),
    );
  }

  /** Rows of SQL as they come, however many there are. Throws TimestoreError; a stream that breaks off does not end well. */
  async *sqlRows<Read extends object = Row>(
    text: string,
    { sees = [], signal, ...body }: Sql & { sees?: string[]; signal?: AbortSignal } = {},
  ): AsyncGenerator<Read, void, undefined> {
    const required = [...this.#watermarks.of(sees), ...[body.minWatermark ?? []].flat()];
    const response = await this.#watermarks.heard(sees, () =>
      this.#transport.send({
        method: 'POST',
        path: '/v1/sql',
        isRepeatable: true,
        signal,
        body: queryBody({
          ...body,
          sql: text,
          format: 'compact',
          ...(required.length > 0 && { minWatermark: required }),
        }),
      }),
    );
    yield* rowsOf<Read>(response);
  }

  /** How far a batch is. Throws TimestoreError `not-found`. */
  async receipt(batchId: string): Promise<Receipt> {
    const path = `/v1/receipts/${encodeURIComponent(batchId)}`;
    return await this.#transport.json<Receipt>({ method: 'GET', path, isRepeatable: true });
  }

  /** Anything else that the API has, such as `/v1/admin/…`. A `POST` or `PATCH` is sent once. Undefined for 204. */
  async call<Answer>(method: Call['method'], path: string, rest: Rest = {}): Promise<Answer> {
    const response = await this.open(method, path, rest);
    return (response.status === 204 ? undefined : await jsonOf<Answer>(response)) as Answer;
  }

  /**
   * The same, its body left to the caller: for CSV, Parquet and Arrow. A body that ends well is whole.
   *
   * @throws TimestoreError for an answer that is no success
   */
  async open(method: Call['method'], path: string, rest: Rest = {}): Promise<Response> {
    const isRepeatable = method === 'GET' || method === 'PUT' || method === 'DELETE';
    return await this.#transport.send({ method, path, isRepeatable, ...rest });
  }
}

/** A table of a deployment. */
export class Table<Read extends object = Row> {
  readonly dataset: string;
  readonly name: string;
  readonly #transport: Transport;
  readonly #watermarks: Watermarks;

  constructor(transport: Transport, watermarks: Watermarks, dataset: string, name: string) {
    this.#transport = transport;
    this.#watermarks = watermarks;
    this.dataset = dataset;
    this.name = name;
  }

  /**
   * Sends rows as one request: all of them are stored, or none, and once, however often it had to be sent.
   *
   * @throws TimestoreError, such as `rows-refused` with `problem.errors`
   */
  async write(rows: object[], options: WriteOptions = {}): Promise<Accepted> {
    return await this.writeLines(
      rows.map((row, i) => rowText(row, i)),
      options,
    );
  }

  /** The same of rows that are JSON already. */
  async writeLines(lines: string[], options: WriteOptions = {}): Promise<Accepted> {
    return await this.writeBody(lines.join('\n'), 'application/x-ndjson', options);
  }

  /** The same of rows as a file has them; CSV with the names in its first line. */
  async writeBody(
    body: string | Uint8Array,
    type: 'application/x-ndjson' | 'text/csv',
    options: WriteOptions = {},
  ): Promise<Accepted> {
    const { idempotencyKey = crypto.randomUUID(), ack, onError, rename, signal } = options;
    const accepted = await this.#transport.json<Accepted>({
      method: 'POST',
      path: `${this.#path}/tables/${encodeURIComponent(this.name)}/rows`,
      isRepeatable: true,
      signal,
      query: { ack, onError, rename: rename && JSON.stringify(rename) },
      headers: { 'idempotency-key': idempotencyKey },
      body,
      type,
    });
    this.#watermarks.add(this.#key, accepted.watermark);
    return accepted;
  }

  /** Takes rows one by one and sends them in batches. */
  writer(options: WriterOptions = {}): Writer {
    return new Writer((lines, key) => this.writeLines(lines, { ...options.write, idempotencyKey: key }), options);
  }

  /**
   * Rows of a structured query; with `downsample` aggregates.
   *
   * @throws TimestoreError, such as `stale-read`. With `problem.lost` the server has lost rows that this client wrote or
   *   read, and it is said this once: later reads do without them
   */
  async query(query: Query & Reading = {}): Promise<QueryAnswer<Read>> {
    const { seesOwn = true, signal, ...body } = query;
    const own = seesOwn ? this.#watermarks.of([this.#key]) : [];
    const call = this.#read(body, own, signal);
    const answer = await this.#watermarks.heard([this.#key], () => this.#transport.json<QueryAnswer<Read>>(call));
    this.#watermarks.replace(this.#key, own, answer.latest_ingest_watermark);
    return answer;
  }

  /** Rows of a query as they come, all of them unless it says how many. Throws TimestoreError. */
  async *rows(query: Query & Reading = {}): AsyncGenerator<Read, void, undefined> {
    const { seesOwn = true, signal, ...body } = query;
    const own = seesOwn ? this.#watermarks.of([this.#key]) : [];
    const call = this.#read({ limit: null, ...body, format: 'compact' }, own, signal);
    yield* rowsOf<Read>(await this.#watermarks.heard([this.#key], () => this.#transport.send(call)));
  }

  get #path(): string {
    return `/v1/datasets/${encodeURIComponent(this.dataset)}`;
  }

  get #key(): string {
    return `${this.dataset}.${this.name}`;
  }

  #read(body: Query & { format?: 'compact' }, own: string[], signal: AbortSignal | undefined): Call {
    const required = [...own, ...[body.minWatermark ?? []].flat()];
    return {
      method: 'POST',
      path: `${this.#path}/query`,
      isRepeatable: true,
      signal,
      body: queryBody({ ...body, tableName: this.name, ...(required.length > 0 && { minWatermark: required }) }),
    };
  }
}
