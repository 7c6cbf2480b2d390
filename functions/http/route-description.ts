import type * as z from 'zod';
import type { ErrorCode } from '../../src/core/errors.ts';
import type { Scope } from '../../src/keys/key.ts';
import type { RouteClass, Tag } from './route-class.ts';

export type ResponseDescription = {
  description: string;
  /** `application/json` by default. */
  type?: string;
  schema?: z.ZodType;
  headers?: Record<string, string>;
  /** The handler writes the body itself, in one of several formats. */
  isStreamed?: true;
};

export type Example = {
  path?: Record<string, string>;
  query?: Record<string, string>;
  headers?: Record<string, string>;
  body?: unknown;
};

/** A route in one object. The OpenAPI document, the access checks, the validation and the metrics are derived from it. */
export type RouteDescription = {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  path: string;
  /** `public`: no key is needed. A list: a key with any of the scopes is enough. */
  scope: 'public' | Scope | readonly Scope[];
  /** The key must have the scope for all datasets. */
  allDatasets?: true;
  tag: Tag;
  /** The class of its requests in metrics, where it differs from that of the tag. */
  metricClass?: RouteClass;
  summary: string;
  description?: string;
  params?: Record<string, z.ZodType<string>> | undefined;
  query?: z.ZodObject;
  /** Headers of the request beside those of every route. */
  headers?: Record<string, z.ZodType>;
  /** A JSON body; an optional schema accepts a request without one. */
  body?: z.ZodType;
  /** The body may contain NUL characters: its text goes to ClickHouse, or to a store that keeps any text. */
  isNulKept?: true;
  /** The handler reads the body itself, in one of these media types. */
  rawBody?: Record<string, z.ZodType>;
  responses: Record<number, ResponseDescription>;
  /** Errors beside those of every route, and of every route with a body. */
  errors?: readonly ErrorCode[];
  /** A request that succeeds. */
  example: Example;
};
