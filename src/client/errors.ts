/**
 * What went wrong, by a stable code: those of the API (`rows-refused`, `stale-read`, …), `network` when no answer came,
 * `timeout` when it did not come in time, `malformed-answer` for one that is none of the API's.
 */
export class TimestoreError extends Error {
  readonly code: string;
  /** Undefined where no answer came. */
  readonly status: number | undefined;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** When a retry makes sense, if the answer said so. */
  readonly retryAfterMs: number | undefined;
  /** Finds the request in the log. */
  readonly requestId: string | undefined;
  /** Everything that the answer said, such as `errors` of refused rows. */
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

/** Reads a problem answer (RFC 9457), or says that it is none. */
export function errorOf(status: number, text: string, retryAfter: string | null): TimestoreError {
  const problem = objectIn(text);
  const { type, title, detail, retryable, retryAfterMs } = problem;
  if (typeof type !== 'string' || !type.startsWith('urn:timestore:')) {
    // A gateway's own page, say.
    const isPassing = status === 429 || status >= 500;
    return new TimestoreError('malformed-answer', `The answer has status ${status} and is none of the API's.`, {
      status,
      retryable: isPassing,
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
