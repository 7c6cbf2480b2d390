import type { Context } from 'hono';
import { matchedRoutes } from 'hono/route';

/** The parts of the API's document, each with the kind that metrics give its requests: paths have too many values. */
const kinds = {
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
  Webhooks: 'admin',
} as const;

export type Tag = keyof typeof kinds;

/** `receipt`: probes of a batch. `other`: a request that has no route. */
export type RouteClass = (typeof kinds)[Tag] | 'receipt' | 'cancel' | 'other';

const mark = Symbol('kind');

/** Marks a handler of a route, so that requests for the route count as of a kind. */
export function withClass<Handler extends object>(kind: RouteClass, handler: Handler): Handler {
  return Object.assign(handler, { [mark]: kind });
}

export function classOfTag(tag: Tag): RouteClass {
  return kinds[tag];
}

/** Undefined for handlers that say none. */
export function classOfHandler(handler: object): RouteClass | undefined {
  return (handler as { [mark]?: RouteClass })[mark];
}

/** What a request is for, whichever handler answered it. */
export function routeClass(c: Context): RouteClass {
  for (const { handler } of matchedRoutes(c)) {
    const kind = classOfHandler(handler);
    if (kind !== undefined) return kind;
  }
  return 'other';
}
