import { createMiddleware } from 'hono/factory';
import { onBehalfOf } from '../src/asking.ts';
import { describeError, logToConsole } from '../src/log.ts';
import { type App, contextFor } from './app.ts';

const requestIdForm = /^[A-Za-z0-9._-]{1,128}$/;

/** Gives a request its id, in and out, and one wide event in the log. */
export const requestEvents = createMiddleware<App>(async (c, next) => {
  const from = performance.now();
  const sent = c.req.header('x-request-id');
  const requestId = sent !== undefined && requestIdForm.test(sent) ? sent : crypto.randomUUID();
  c.set('requestId', requestId);
  c.set('event', {});
  // Before there is an answer, which would have to be made again for it.
  c.header('x-request-id', requestId);
  await onBehalfOf({ actor: 'unknown', requestId }, next);
  if (!c.res.headers.has('x-request-id')) c.header('x-request-id', requestId);
  logToConsole({
    event: 'request',
    requestId,
    method: c.req.method,
    path: c.req.path,
    status: c.res.status,
    took_ms: Math.round(performance.now() - from),
    ...c.get('event'),
    ...(c.error !== undefined && describeError(c.error)),
  });
});

/** Gives a request the clients. Without a complete configuration every route but /health says what it lacks. */
export const withTimestore = createMiddleware<App>(async (c, next) => {
  c.set('timestore', contextFor(c.env));
  await next();
});
