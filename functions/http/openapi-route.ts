import { type DescribeRouteOptions, describeRoute, resolver } from 'hono-openapi';
import * as z from 'zod';
import { type ErrorCode, errorCatalogue } from '../../src/core/errors.ts';
import { slug } from '../../src/core/identifiers.ts';
import { problemSchema } from './problem.ts';
import { classOfTag, type RouteClass, type Tag, withClass } from './route-class.ts';

type Description = {
  summary: string;
  description?: string;
  tag: Tag;
  /** Where requests of the route are of another kind than those of its tag. */
  kind?: RouteClass;
  /** Names of path parameters, all slugs. */
  path?: string[];
  /** Headers of the request: with their description, or as the schema that they are checked against. */
  headers?: Record<string, string | z.ZodType>;
  /** Query parameters: named, or as the schema that they are checked against. */
  query?: Record<string, string> | z.ZodObject;
  /** Path parameters that are no slugs. */
  parameters?: Record<string, string>;
  /** Media types of the body, each with its schema or without one. */
  body?: { required: boolean; types: Record<string, z.ZodType> };
  answers: Record<number, { description: string; type?: string; schema?: z.ZodType; headers?: Record<string, string> }>;
  /** Beside those that every route has, and every route with a body. */
  errors?: readonly ErrorCode[];
  public?: boolean;
  /** A request that works: values of its parameters, and a body. */
  example: Example;
};

export type Example = {
  path?: Record<string, string>;
  query?: Record<string, string>;
  headers?: Record<string, string>;
  /** JSON, or the text of another media type. */
  body?: unknown;
  type?: string;
};

/** A route's entry in the OpenAPI document, from the schemas that validate it and the catalogue of errors, and its kind. */
export function openApiRoute(route: Description) {
  const { body, example } = route;
  // Every route that asks for a key refuses in the same ways.
  const refusals: ErrorCode[] = route.public ? [] : ['unauthenticated', 'forbidden', 'too-many-requests'];
  const bodyErrors: ErrorCode[] = ['malformed-body', 'unsupported-media-type', 'limit-exceeded'];
  const always: ErrorCode[] = [
    'invalid-request',
    'value-refused',
    'internal',
    'misconfigured',
    'unavailable',
    ...(body === undefined ? [] : bodyErrors),
    // What the path names may not be there, or not for this key.
    ...(route.path === undefined && route.parameters === undefined ? [] : (['not-found'] as const)),
  ];
  const codes = [...new Set([...(route.errors ?? []), ...refusals, ...always])];
  const headers = (names: Record<string, string> = {}) =>
    Object.fromEntries(
      Object.entries(names).map(([name, description]) => [name, { description, schema: { type: 'string' } }]),
    );
  const answers = Object.entries(route.answers).map(
    ([status, { description, type = 'application/json', schema, headers: sent }]) => [
      status,
      {
        description,
        headers: headers({ 'x-request-id': 'names the request in the log', ...sent }),
        ...(schema !== undefined && { content: { [type]: { schema: resolver(schema) } } }),
      },
    ],
  );
  const options = {
    summary: route.summary,
    tags: [route.tag],
    ...(route.description !== undefined && { description: route.description }),
    ...(route.public && { security: [] }),
    parameters: [
      ...(route.path ?? []).map((name) => ({ in: 'path', name, required: true, schema: slugSchema })),
      ...strings('path', route.parameters),
      ...(route.query instanceof z.ZodObject ? fieldsOf(route.query) : strings('query', route.query)),
      ...strings('header', { ...route.headers, ...everyHeader }),
    ].map((parameter) => withExample(parameter, example)),
    ...(body !== undefined && {
      requestBody: {
        required: body.required,
        content: Object.fromEntries(
          Object.entries(body.types).map(([type, schema]) => {
            const isOfIt = example.body !== undefined && type === (example.type ?? 'application/json');
            return [type, { schema: resolver(schema), ...(isOfIt && { example: example.body }) }];
          }),
        ),
      },
    }),
    responses: Object.fromEntries([...answers, ...problems(codes)]),
  };
  return withClass(route.kind ?? classOfTag(route.tag), describeRoute(options as DescribeRouteOptions));
}

function strings(place: 'path' | 'query' | 'header', named: Record<string, string | z.ZodType> = {}) {
  return Object.entries(named).map(([name, told]) => {
    const { description, ...schema } = typeof told === 'string' ? { description: told, type: 'string' } : jsonOf(told);
    return { in: place, name, description, required: place === 'path', schema };
  });
}

function jsonOf(schema: z.ZodType): { description?: string } {
  const { $schema: _, ...json } = z.toJSONSchema(schema);
  return json;
}

/** A number is described as what it is, although it comes as text. */
function fieldsOf(schema: z.ZodObject) {
  const { required = [] } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  const { properties = {} } = z.toJSONSchema(schema, { io: 'output' });
  return Object.entries(properties).map(([name, property]) => {
    const { description, ...rest } = property as { description?: string };
    return { in: 'query', name, description, required: required.includes(name), schema: rest };
  });
}

const slugSchema = jsonOf(slug);

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
      headers: Object.fromEntries(
        Object.entries({
          'x-request-id': 'names the request in the log',
          ...(group.some((code) => errorCatalogue[code].retryable) && {
            'Retry-After': 'seconds after which the same request may succeed',
          }),
          ...(status === 429 && { RateLimit: 'what is left, where a quota or a rate is the reason' }),
          ...(status === 429 && { 'RateLimit-Policy': 'the quotas of the dataset' }),
          ...(status === 401 && { 'WWW-Authenticate': '`Bearer`' }),
        }).map(([name, description]) => [name, { description, schema: { type: 'string' } }]),
      ),
      content: { 'application/problem+json': { schema: resolver(problemSchema), example: problemExample(group) } },
    },
  ]);
}
