/**
 * An error with a stable code: a code of the API (`rows-refused`, `stale-read`, …), `network` without an answer, `timeout` for a
 * late answer, `malformed-answer` for an answer that is not of the API.
 */
export class TimestoreError extends Error {
  readonly code: string;
  /** Undefined without an answer. */
  readonly status: number | undefined;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** The delay before a retry, where the answer has one. */
  readonly retryAfterMs: number | undefined;
  /** The id of the request in the log. */
  readonly requestId: string | undefined;
  /** All members of the error response, such as `errors` of rejected rows. */
  readonly problem: Record<string, unknown>;

  constructor(
    code: string,
    message: string,
    options: {
      status?: number;
      retryable: boolean;
      retryAfterMs?: number | undefined;
      problem?: Record<string, unknown>;
      cause?: unknown;
    },
  ) {
    super(message, { cause: options.cause });
    this.name = 'TimestoreError';
    this.code = code;
    this.status = options.status;
    this.retryable = options.retryable;
    this.retryAfterMs = options.retryAfterMs;
    this.problem = options.problem ?? {};
    this.requestId = typeof this.problem.requestId === 'string' ? this.problem.requestId : undefined;
  }
}

/** Parses an error response (RFC 9457); other content is a `malformed-answer`. */
export function parseProblem(status: number, text: string, retryAfter: string | null): TimestoreError {
  const problem = objectIn(text);
  const { type, title, detail, retryable, retryAfterMs } = problem;
  if (typeof type !== 'string' || !type.startsWith('urn:timestore:')) {
    // For example the error page of a gateway.
    const isTemporary = status === 429 || status >= 500;
    return new TimestoreError('malformed-answer', `The answer has status ${status} and is not an answer of the API.`, {
      status,
      retryable: isTemporary,
      retryAfterMs: secondsIn(retryAfter),
    });
  }
  const message = typeof detail === 'string' ? detail : String(title);
  const wait_ms = typeof retryAfterMs === 'number' ? retryAfterMs : secondsIn(retryAfter);
  return new TimestoreError(type.slice('urn:timestore:'.length), message, {
    status,
    retryable: retryable === true,
    retryAfterMs: wait_ms,
    problem,
  });
}

function objectIn(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function secondsIn(header: string | null): number | undefined {
  return header !== null && /^\d+$/.test(header) ? Number(header) * 1000 : undefined;
}
