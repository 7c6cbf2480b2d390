import { cors } from 'hono/cors';
import { createMiddleware } from 'hono/factory';
import { describeError, type Event, logToConsole } from '../../src/core/log.ts';
import { type Actor, runAs } from '../../src/core/request-context.ts';
import { requireTextInUrl } from '../../src/core/request-text.ts';
import { continueTrace, endTrace } from '../../src/core/trace.ts';
import type { Context as AppContext } from '../../src/create-context.ts';
import { type App, contextFor } from './app.ts';
import { classOfRequest } from './route-class.ts';

const requestIdForm = /^[A-Za-z0-9._-]{1,128}$/;

/** Assigns the request id, writes one log event for the request, counts it and traces it. */
export const requestEvents = createMiddleware<App>(async (c, next) => {
  const [from, from_ms] = [performance.now(), Date.now()];
  const sent = c.req.header('x-request-id');
  const requestId = sent !== undefined && requestIdForm.test(sent) ? sent : crypto.randomUUID();
  const ctx = contextIfAny(c.env);
  const trace = continueTrace(c.req.header('traceparent'), ctx?.config.OTEL_TRACES_SAMPLER_ARG ?? 0);
  c.set('requestId', requestId);
  c.set('event', {});
  // Setting a header after the handler would copy the response.
  c.header('x-request-id', requestId);
  const who: Actor = { actor: 'unknown', requestId, trace };
  await runAs(who, next);
  if (!c.res.headers.has('x-request-id')) c.header('x-request-id', requestId);
  const { method } = c.req;
  const path = loggedPath(c.req.path);
  const { status } = c.res;
  const kind = classOfRequest(c);
  const event: Event = {
    event: 'request',
    requestId,
    traceId: trace.traceId,
    kind,
    method,
    path,
    status,
    actor: who.actor,
    took_ms: Math.round(performance.now() - from),
    ...c.get('event'),
    ...(c.error !== undefined && describeError(c.error)),
  };
  if (ctx === undefined) return logToConsole(event);
  ctx.log(event);
  const { counters } = ctx;
  if (counters.isDue(ctx.now())) c.executionCtx.waitUntil(counters.send(ctx));
  const attributes = { 'http.request.method': method, 'url.path': path, 'http.response.status_code': status };
  const root = { name: `${method} ${kind}`, kind: 2 as const, from_ms, isFailed: status >= 500, attributes };
  if (ctx.config.OTEL_EXPORTER_OTLP_ENDPOINT !== undefined) {
    c.executionCtx.waitUntil(endTrace(ctx, trace, root));
  }
});

/** The address of a ping has a token. */
function loggedPath(path: string): string {
  return path.startsWith('/ping/') ? '/ping/*' : path;
}

/** Undefined for an invalid configuration; the route itself reports it. */
function contextIfAny(env: App['Bindings']): AppContext | undefined {
  try {
    return contextFor(env);
  } catch {
    return undefined;
  }
}

const exposedHeaders = [
  'x-request-id',
  'retry-after',
  'ratelimit',
  'ratelimit-policy',
  'etag',
  'idempotency-replayed',
  'www-authenticate',
  'x-timestore-freshness-mode',
  'x-timestore-replica-age-ms',
  'x-timestore-watermark',
  'x-timestore-cursor',
  'x-timestore-warnings',
  'x-timestore-streaming',
  'x-timestore-statistics',
  'x-timestore-answered-by',
];

/** Allows browser requests from the origins in the configuration, and from no others. */
export const crossOrigin = createMiddleware<App>(async (c, next) => {
  const origins = contextIfAny(c.env)?.config.TIMESTORE_CORS_ORIGINS;
  if (origins === undefined) return await next();
  const origin = origins.includes('*') ? '*' : origins;
  const allowMethods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];
  return await cors({ origin, allowMethods, exposeHeaders: exposedHeaders, maxAge: 7_200 })(c, next);
});

/** Checks the text of the URL before anything uses a name in it. The readers of bodies check their text. */
export const textInUrl = createMiddleware<App>(async (c, next) => {
  requireTextInUrl(c.req.url);
  await next();
});

/** Gives a request the store clients. Every route but /health reports an invalid configuration. */
export const withTimestore = createMiddleware<App>(async (c, next) => {
  c.set('ctx', contextFor(c.env));
  await next();
});
