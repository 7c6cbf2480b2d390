import type { MiddlewareHandler } from 'hono';
import { type DescribeRouteOptions, describeRoute, resolver } from 'hono-openapi';
import * as z from 'zod';
import { type ErrorCode, errorCatalogue } from '../../src/core/errors.ts';
import { problemSchema } from './problem.ts';
import type { Example, RouteDescription } from './route-description.ts';

/** The entry of a route in the OpenAPI document, from the schemas that validate requests and from the catalogue of errors. */
export function describeOperation(route: RouteDescription): MiddlewareHandler {
  const { summary, description, tag, example } = route;
  const body = bodyOf(route);
  const options = {
    summary,
    tags: [tag],
    ...(description !== undefined && { description }),
    ...(route.scope === 'public' && { security: [] }),
    parameters: [
      ...parameters('path', route.params),
      ...queryParameters(route.query),
      ...parameters('header', route.headers),
      ...Object.entries(everyHeader).map(([name, told]) => {
        return { in: 'header', name, description: told, required: false, schema: { type: 'string' } };
      }),
    ].map((parameter) => withExample(parameter, example)),
    ...(body !== undefined && { requestBody: { required: body.required, content: content(body.types, example) } }),
    responses: Object.fromEntries([...responses(route), ...problems(errorCodes(route))]),
  };
  return describeRoute(options as DescribeRouteOptions);
}

type Body = { required: boolean; types: Record<string, z.ZodType> };

function bodyOf({ body, rawBody }: RouteDescription): Body | undefined {
  if (rawBody !== undefined) return { required: true, types: rawBody };
  if (body === undefined) return undefined;
  const isOptional = body instanceof z.ZodOptional;
  return { required: !isOptional, types: { 'application/json': isOptional ? (body.unwrap() as z.ZodType) : body } };
}

function content(types: Body['types'], { body }: Example) {
  return Object.fromEntries(
    Object.entries(types).map(([type, schema]) => {
      const hasExample = body !== undefined && type === 'application/json';
      return [type, { schema: resolver(schema), ...(hasExample && { example: body }) }];
    }),
  );
}

function errorCodes(route: RouteDescription): ErrorCode[] {
  const own = route.errors ?? [];
  const access: ErrorCode[] = route.scope === 'public' ? [] : ['unauthenticated', 'forbidden', 'too-many-requests'];
  const always: ErrorCode[] = ['invalid-request', 'value-refused', 'internal', 'misconfigured', 'unavailable'];
  const body: ErrorCode[] = ['malformed-body', 'unsupported-media-type', 'limit-exceeded'];
  const codes = [...own, ...access, ...always];
  if (bodyOf(route) !== undefined) codes.push(...body);
  // A path can name a resource that does not exist, or that the key does not cover.
  if (route.params !== undefined) codes.push('not-found');
  return [...new Set(codes)];
}

function responses(route: RouteDescription) {
  return Object.entries(route.responses).map(
    ([status, { description, type = 'application/json', schema, headers }]) => {
      return [
        status,
        {
          description,
          headers: headerEntries({ ...requestIdHeader, ...headers }),
          ...(schema !== undefined && { content: { [type]: { schema: resolver(schema) } } }),
        },
      ];
    },
  );
}

function headerEntries(descriptions: Record<string, string>) {
  return Object.fromEntries(
    Object.entries(descriptions).map(([name, description]) => [name, { description, schema: { type: 'string' } }]),
  );
}

function parameters(place: 'path' | 'header', schemas: Record<string, z.ZodType> = {}) {
  return Object.entries(schemas).map(([name, each]) => {
    const { $schema: _, description, ...schema } = z.toJSONSchema(each, { io: 'input' });
    return { in: place, name, description, required: place === 'path', schema };
  });
}

/** The schema of a number says `integer`, although the value arrives as text. */
function queryParameters(query: z.ZodObject = z.object({})) {
  const { required = [] } = z.toJSONSchema(query, { io: 'input', unrepresentable: 'any' });
  const { properties = {} } = z.toJSONSchema(query, { io: 'output' });
  return Object.entries(properties).map(([name, property]) => {
    const { description, ...schema } = property as { description?: string };
    return { in: 'query', name, description, required: required.includes(name), schema };
  });
}

const requestIdHeader = { 'x-request-id': 'names the request in the log' };

/** Headers that every route takes. */
const everyHeader = {
  'x-request-id': 'names the request in the log and in its answer; made here if left out',
  traceparent: 'the trace that the request is part of (W3C Trace Context)',
};

type Parameter = { in: string; name: string };

function withExample(parameter: Parameter, example: Example): Parameter & { example?: string } {
  const { path = {}, query = {}, headers = {} } = example;
  const of = { path, query, header: headers }[parameter.in] ?? {};
  const value = of[parameter.name];
  return value === undefined ? parameter : { ...parameter, example: value };
}

function problemExample([code = 'internal']: ErrorCode[]) {
  const { title, status, retryable } = errorCatalogue[code];
  const requestId = '0b77e71c-b2b9-4abf-957e-150f91e52f03';
  return { type: `urn:timestore:${code}`, title, status, detail: `${title}.`, requestId, retryable };
}

/** Codes of one status share an answer. */
function problems(codes: ErrorCode[]) {
  const byStatus = Map.groupBy(codes, (code) => errorCatalogue[code].status);
  return [...byStatus].map(([status, group]) => [
    status,
    {
      description: group.map((code) => `\`${code}\`: ${errorCatalogue[code].title}`).join('. '),
      headers: headerEntries({
        ...requestIdHeader,
        ...(group.some((code) => errorCatalogue[code].retryable) && {
          'Retry-After': 'seconds after which the same request may succeed',
        }),
        ...(status === 429 && { RateLimit: 'what is left, where a quota or a rate is the reason' }),
        ...(status === 429 && { 'RateLimit-Policy': 'the quotas of the dataset' }),
        ...(status === 401 && { 'WWW-Authenticate': '`Bearer`' }),
      }),
      content: { 'application/problem+json': { schema: resolver(problemSchema), example: problemExample(group) } },
    },
  ]);
}
