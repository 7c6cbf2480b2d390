/**
 * All errors of the API. Codes are stable, because clients switch on them: the `type` of a problem response is
 * `urn:timestore:<code>`. `retryable` belongs to the code, so that no client has to parse a message.
 */
export const errorCatalogue = {
  'malformed-body': { status: 400, retryable: false, title: 'Malformed body' },
  'invalid-request': { status: 400, retryable: false, title: 'Invalid request' },
  unauthenticated: { status: 401, retryable: false, title: 'Missing or invalid API key' },
  forbidden: { status: 403, retryable: false, title: 'Insufficient permissions of the API key' },
  'not-found': { status: 404, retryable: false, title: 'Resource not found' },
  'method-not-allowed': { status: 405, retryable: false, title: 'Method not allowed' },
  'stale-read': { status: 409, retryable: true, title: 'The requested freshness is not available yet' },
  'cursor-expired': { status: 409, retryable: false, title: 'Expired cursor' },
  'query-cancelled': { status: 409, retryable: false, title: 'Cancelled query' },
  'dataset-frozen': { status: 409, retryable: true, title: 'Frozen dataset or table' },
  conflict: { status: 409, retryable: true, title: 'Conflict with the current state' },
  'inconsistent-change': { status: 409, retryable: false, title: 'Change that other resources do not allow' },
  'precondition-failed': {
    status: 412,
    retryable: false,
    title: 'The resource has changed (If-Match does not match)',
  },
  'limit-exceeded': { status: 413, retryable: false, title: 'Limit exceeded' },
  'unsupported-media-type': { status: 415, retryable: false, title: 'Unsupported media type' },
  'rows-refused': { status: 422, retryable: false, title: 'Invalid rows (nothing was stored)' },
  'schema-refused': { status: 422, retryable: false, title: 'Schema mismatch (nothing was stored)' },
  'value-refused': { status: 422, retryable: false, title: 'Value that cannot be stored' },
  'key-reused': { status: 422, retryable: false, title: 'Idempotency-Key used for another payload' },
  'key-expired': { status: 422, retryable: false, title: 'Expired Idempotency-Key' },
  'buffer-full': { status: 429, retryable: true, title: 'Hot buffer full' },
  'quota-exceeded': { status: 429, retryable: true, title: 'Dataset quota exceeded' },
  'too-many-requests': { status: 429, retryable: true, title: 'Too many requests' },
  'too-many-queries': { status: 429, retryable: true, title: 'Too many concurrent queries' },
  internal: { status: 500, retryable: true, title: 'Internal error' },
  misconfigured: { status: 503, retryable: false, title: 'Invalid configuration of the deployment' },
  unavailable: { status: 503, retryable: true, title: 'A required store is unavailable' },
} as const satisfies Record<string, { status: number; retryable: boolean; title: string }>;

export type ErrorCode = keyof typeof errorCatalogue;

/** An error that becomes a response. `detail` and `extra` are public: they never hold SQL, a stack or a secret. */
export class ApiError extends Error {
  readonly code: ErrorCode;
  /** Additional members of the problem response, such as `errors` of rejected rows. */
  readonly extra: Record<string, unknown>;
  /** Delay before a retry, for the `Retry-After` header. */
  readonly retryAfterMs: number | undefined;
  /** Additional headers of the response. */
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
    this.name = 'ApiError';
    this.code = code;
    this.extra = options.extra ?? {};
    this.retryAfterMs = options.retryAfterMs;
    this.headers = options.headers ?? {};
  }
}

export type StoreName = 'redis' | 'clickhouse' | 'postgres' | 's3';

/** A store did not answer, or failed for a reason that is not the caller's. The store's own message stays in `cause`, for the log. */
export class StoreError extends ApiError {
  readonly store: StoreName;

  constructor(store: StoreName, failure: string, cause: unknown) {
    super('unavailable', `${storeTitles[store]} ${failure}. Try again shortly.`, { retryAfterMs: 1000, cause });
    this.name = 'StoreError';
    this.store = store;
  }
}

/** A store rejected a value for its content: every retry with the same value fails too. */
export class RefusedError extends ApiError {
  constructor(store: StoreName, cause: unknown, code: string) {
    super('value-refused', `${storeTitles[store]} cannot store a value of this request (${code}). Change the value.`, {
      cause,
    });
    this.name = 'RefusedError';
  }
}

/**
 * The first row of a result that always has one, such as an aggregate. A result without rows is a failure of the store,
 * not a zero. Throws StoreError.
 */
export function requireFirstRow<Row>(store: StoreName, rows: Row[]): Row {
  const [row] = rows;
  if (row === undefined) throw new StoreError(store, 'returned no row where one is required', undefined);
  return row;
}

/** Store names in messages. */
const storeTitles: Record<StoreName, string> = {
  redis: 'The hot buffer (Redis)',
  clickhouse: 'ClickHouse',
  postgres: 'The catalogue (Postgres)',
  s3: 'The object store (S3)',
};
