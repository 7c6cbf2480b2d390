import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import * as z from 'zod';
import { ApiError, errorCatalogue } from '../../src/core/errors.ts';
import type { App } from './app.ts';

/** An error response (RFC 9457). */
export const problemSchema = z
  .looseObject({
    type: z.string().meta({ examples: ['urn:timestore:rows-refused'] }),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    requestId: z.string(),
    retryable: z.boolean().meta({ description: 'true if the same request may succeed later' }),
  })
  .meta({ id: 'Problem' });

/** Converts every error to a response. The response hides the details of an unexpected error; the log has them. */
export function problem(c: Context<App>, error: unknown): Response {
  const known = toApiError(error);
  const { status, retryable, title } = errorCatalogue[known.code];
  const { rejected } = known.extra;
  c.set('event', { ...c.get('event'), code: known.code, ...(rejected !== undefined && { rejected }) });
  const headers = new Headers({ ...known.headers, 'content-type': 'application/problem+json' });
  if (known.retryAfterMs !== undefined) headers.set('retry-after', String(Math.ceil(known.retryAfterMs / 1000)));
  if (known.code === 'unauthenticated') headers.set('www-authenticate', 'Bearer');
  const body = {
    type: `urn:timestore:${known.code}`,
    title,
    status,
    detail: known.message,
    requestId: c.get('requestId'),
    retryable,
    ...(known.retryAfterMs !== undefined && { retryAfterMs: known.retryAfterMs }),
    ...known.extra,
  };
  return c.body(JSON.stringify(body), status as ContentfulStatusCode, Object.fromEntries(headers));
}

function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof HTTPException && error.status < 500) return new ApiError('invalid-request', error.message);
  // Only a request that nests too deep overflows the stack.
  if (error instanceof RangeError && error.message.includes('call stack')) {
    return new ApiError('limit-exceeded', 'The request is nested too deep.', { cause: error });
  }
  return new ApiError('internal', 'An unexpected error occurred. The log contains it under the request id.', {
    cause: error,
  });
}
