import type { Context, Hono, MiddlewareHandler } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import * as z from 'zod';
import type { Context as AppContext } from '../../src/create-context.ts';
import type { App } from './app.ts';
import { type Caller, requireScopes } from './auth.ts';
import { formError, parseBody } from './body.ts';
import { describeOperation } from './openapi.ts';
import { classOfTag, withClass } from './route-class.ts';
import type { ResponseDescription, RouteDescription } from './route-description.ts';

/** Names of the path parameters in a path such as `/datasets/:dataset`. */
type ParamNames<Path extends string> = Path extends `${infer Part}/${infer Rest}`
  ? ParamNames<Part> | ParamNames<Rest>
  : Path extends `:${infer Name}`
    ? Name
    : never;

type Typed<Path extends string, Query, Headers, Body, Responses> = {
  path: Path;
  query?: Query;
  headers?: Headers;
  body?: Body;
  responses: Responses;
} & ([ParamNames<Path>] extends [never]
  ? { params?: undefined }
  : { params: { [Name in ParamNames<Path>]: z.ZodType<string> } });

type Json<Response> = Response extends { isStreamed: true } ? never : Response extends { schema: infer S } ? S : never;

/** The validated parts of a request, and `json`, which builds one of the described responses. */
type Request<Path extends string, Query, Headers, Body, Responses> = {
  c: Context<App>;
  ctx: AppContext;
  key: Caller;
  params: Record<ParamNames<Path>, string>;
  query: z.output<Query>;
  headers: { [Name in keyof Headers]: z.output<Headers[Name]> };
  body: z.output<Body>;
  json: <Status extends keyof Responses & number>(status: Status, value: z.input<Json<Responses[Status]>>) => Response;
};

export type Route = { description: RouteDescription; handlers: [MiddlewareHandler<App>, ...MiddlewareHandler<App>[]] };

/**
 * Builds the handlers of a route. The checks run in this order: key, scope and dataset of the path; path parameters; query;
 * headers; body.
 */
export function route<
  Path extends string,
  Responses extends Record<number, ResponseDescription>,
  Query extends z.ZodObject = z.ZodObject<Record<never, never>>,
  Headers extends Record<string, z.ZodType> = Record<never, never>,
  Body extends z.ZodType = z.ZodUndefined,
>(
  description: Omit<RouteDescription, 'path' | 'params' | 'query' | 'headers' | 'body' | 'responses'> &
    Typed<Path, Query, Headers, Body, Responses>,
  handle: (request: Request<Path, Query, Headers, Body, Responses>) => Response | Promise<Response>,
): Route {
  const given: RouteDescription = description;
  const { scope, allDatasets, metricClass, tag } = given;
  const scopes = typeof scope === 'string' ? [scope] : scope;
  const access = scopes.flatMap((each) => (each === 'public' ? [] : [each]));
  const params = z.object(given.params ?? {});
  const headers = z.object(given.headers ?? {});
  const handler: MiddlewareHandler<App> = async (c) => {
    const inPath = parse(params, c.req.param());
    const query = given.query && parse(given.query, c.req.query());
    const sent = Object.keys(headers.shape).map((name) => [name, c.req.header(name)]);
    const inHeaders = parse(headers, Object.fromEntries(sent));
    const body = await readBody(c, given);
    const json = (status: number, value: unknown) => c.json(value, status as ContentfulStatusCode);
    const request = { c, ctx: c.get('ctx'), key: c.get('key'), params: inPath, query, headers: inHeaders, body, json };
    return await handle(request as unknown as Request<Path, Query, Headers, Body, Responses>);
  };
  const checks = access.length === 0 ? [] : [requireScopes(access, { allDatasets })];
  const last = withClass(metricClass ?? classOfTag(tag), handler);
  return { description: given, handlers: [describeOperation(given), ...checks, last] };
}

export function addRoutes(app: Hono<App>, routes: Route[]): void {
  for (const { description, handlers } of routes) {
    app.on(description.method.toUpperCase(), description.path, ...handlers);
  }
}

/** Throws ApiError `invalid-request`, with every problem. */
function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw formError(result.error);
}

async function readBody(c: Context<App>, { body, isNulKept }: RouteDescription): Promise<unknown> {
  if (body === undefined || (body instanceof z.ZodOptional && !hasBody(c))) return undefined;
  return await parseBody(c, body, { isNulKept: isNulKept ?? false });
}

function hasBody(c: Context<App>): boolean {
  return c.req.header('content-type') !== undefined && c.req.header('content-length') !== '0';
}
