import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import * as z from 'zod';
import { ApiError, errorCatalogue } from '../../src/core/errors.ts';
import type { App } from './app.ts';

/** The answer to whatever went wrong, RFC 9457. */
export const problemSchema = z
  .looseObject({
    type: z.string().meta({ examples: ['urn:timestore:rows-refused'] }),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    requestId: z.string(),
    retryable: z.boolean().meta({ description: 'whether the same request may succeed later' }),
  })
  .meta({ id: 'Problem' });

/** The one place where an error becomes an answer. What is not in the catalogue stays opaque: the log has the rest. */
export function problem(c: Context<App>, error: unknown): Response {
  const known = asKnown(error);
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

function asKnown(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof HTTPException && error.status < 500) return new ApiError('invalid-request', error.message);
  // What nests so deep that it cannot be gone through was sent so.
  if (error instanceof RangeError && error.message.includes('call stack')) {
    return new ApiError('limit-exceeded', 'The request nests too deep.', { cause: error });
  }
  return new ApiError('internal', 'Something failed here. The request id finds it in the log.', { cause: error });
}
