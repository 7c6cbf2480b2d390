/**
 * The catalogue of errors. A code is stable: clients switch on it (`type` of the problem answer is `urn:timestore:<code>`).
 * Whether a caller may try the same request again is part of the code, never guessed from a message.
 */
export const errorCatalogue = {
  'malformed-body': { status: 400, retryable: false, title: 'The body cannot be read' },
  'invalid-request': { status: 400, retryable: false, title: 'The request is not of the documented form' },
  unauthenticated: { status: 401, retryable: false, title: 'A valid key is needed' },
  forbidden: { status: 403, retryable: false, title: 'The key may not do this' },
  'not-found': { status: 404, retryable: false, title: 'There is no such thing' },
  'method-not-allowed': { status: 405, retryable: false, title: 'The method is not one of this address' },
  'stale-read': { status: 409, retryable: true, title: 'The freshness asked for cannot be given yet' },
  'cursor-expired': { status: 409, retryable: false, title: 'Expired cursor' },
  'query-cancelled': { status: 409, retryable: false, title: 'Cancelled query' },
  'dataset-frozen': { status: 409, retryable: true, title: 'Writes are stopped for a cutover' },
  conflict: { status: 409, retryable: true, title: 'Somebody else changed this at the same time' },
  'precondition-failed': { status: 412, retryable: false, title: 'It is not as If-Match says' },
  'limit-exceeded': { status: 413, retryable: false, title: 'A limit is exceeded' },
  'unsupported-media-type': { status: 415, retryable: false, title: 'This content type is not understood' },
  'rows-refused': { status: 422, retryable: false, title: 'Rows were refused; nothing was stored' },
  'schema-refused': { status: 422, retryable: false, title: 'The rows do not fit the schema; nothing was stored' },
  'value-refused': { status: 422, retryable: false, title: 'A value cannot be stored' },
  'key-reused': { status: 422, retryable: false, title: 'This Idempotency-Key was used for another payload' },
  'key-expired': { status: 422, retryable: false, title: 'This Idempotency-Key is too old to complete its request' },
  'buffer-full': { status: 429, retryable: true, title: 'The hot buffer is full' },
  'quota-exceeded': { status: 429, retryable: true, title: 'The dataset has taken what it may' },
  'too-many-requests': { status: 429, retryable: true, title: 'Too many requests with this key' },
  'too-many-queries': { status: 429, retryable: true, title: 'Too many queries at once' },
  internal: { status: 500, retryable: true, title: 'Something failed here' },
  misconfigured: { status: 503, retryable: false, title: 'The deployment is not configured' },
  unavailable: { status: 503, retryable: true, title: 'A store that the answer needs is away' },
} as const satisfies Record<string, { status: number; retryable: boolean; title: string }>;

export type ErrorCode = keyof typeof errorCatalogue;

/** An error that is an answer. `detail` and `extra` are read by strangers: no SQL, no stack, no secret goes in. */
export class ApiError extends Error {
  readonly code: ErrorCode;
  /** Members of the problem answer beside the standard ones, such as `errors` of refused rows. */
  readonly extra: Record<string, unknown>;
  /** When a retry makes sense, for the `Retry-After` header. */
  readonly retryAfterMs: number | undefined;
  /** Headers of the answer beside the standard ones. */
  readonly headers: Record<string, string>;

  constructor(
    code: ErrorCode,
    detail: string,
    options: {
      extra?: Record<string, unknown>;
      headers?: Record<string, string>;
      retryAfterMs?: number;
      cause?: unknown;
    } = {},
  ) {
    super(detail, { cause: options.cause });
    this.name = 'TimestoreError';
    this.code = code;
    this.extra = options.extra ?? {};
    this.retryAfterMs = options.retryAfterMs;
    this.headers = options.headers ?? {};
  }
}

export type StoreName = 'redis' | 'clickhouse' | 'postgres' | 's3';

/** A store did not answer, or answered with an error that is not the caller's. Its own words stay in `cause`, for the log. */
export class StoreError extends ApiError {
  readonly store: StoreName;

  constructor(store: StoreName, did: string, cause: unknown) {
    super('unavailable', `${storeTitles[store]} ${did}. Try again shortly.`, { retryAfterMs: 1000, cause });
    this.name = 'StoreError';
    this.store = store;
  }
}

/** A store refused a value for what it is: the same value is refused again, whoever sends it. */
export class RefusedError extends ApiError {
  constructor(store: StoreName, cause: unknown, code: string) {
    super(
      'value-refused',
      `${storeTitles[store]} cannot store a value of this (${code}), now or later. Change the value.`,
      {
        cause,
      },
    );
    this.name = 'RefusedError';
  }
}

/**
 * The first of the rows that a store answered: a statement that always has one, such as an aggregate, answers without rows
 * only where something is wrong, and then nothing may be concluded from it. Throws StoreError.
 */
export function firstOf<Row>(store: StoreName, rows: Row[]): Row {
  const [row] = rows;
  if (row === undefined) throw new StoreError(store, 'answered without the row that was asked for', undefined);
  return row;
}

/** A value that is missing only where something is wrong here: no other value may stand in for it. Throws Error. */
export function required<Value>(value: Value | undefined, what: string): Value {
  if (value === undefined) throw new Error(`missing: ${what}`);
  return value;
}

const storeTitles: Record<StoreName, string> = {
  redis: 'The hot buffer (Redis)',
  clickhouse: 'ClickHouse',
  postgres: 'The catalogue (Postgres)',
  s3: 'The object store (S3)',
};
