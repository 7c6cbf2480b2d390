import type { Context } from 'hono';
import { matchedRoutes } from 'hono/route';

/** The tags of the OpenAPI document, each with its class of requests in metrics. Raw paths would have unbounded cardinality. */
const tagClasses = {
  Rows: 'ingest',
  Query: 'query',
  SQL: 'sql',
  Health: 'health',
  Admin: 'admin',
  Backups: 'admin',
  Catalogue: 'admin',
  Exports: 'admin',
  Imports: 'admin',
  Jobs: 'admin',
  Keys: 'admin',
  Monitoring: 'admin',
  Webhooks: 'admin',
} as const;

export type Tag = keyof typeof tagClasses;

/** `receipt`: a status query of a batch. `page`: a status page. `other`: a request without a route. */
export type RouteClass = (typeof tagClasses)[Tag] | 'receipt' | 'cancel' | 'page' | 'other';

const mark = Symbol('route class');

/** Assigns a class to the handler of a route, for the metrics of its requests. */
export function withClass<Handler extends object>(routeClass: RouteClass, handler: Handler): Handler {
  return Object.assign(handler, { [mark]: routeClass });
}

export function classOfTag(tag: Tag): RouteClass {
  return tagClasses[tag];
}

/** Undefined for a handler without a class, such as middleware. */
export function classOfHandler(handler: object): RouteClass | undefined {
  return (handler as { [mark]?: RouteClass })[mark];
}

/** The class of a request, whichever of its handlers responded. */
export function classOfRequest(c: Context): RouteClass {
  for (const { handler } of matchedRoutes(c)) {
    const found = classOfHandler(handler);
    if (found !== undefined) return found;
  }
  return 'other';
}
