import type { Context, Hono } from 'hono';
import { ApiError } from '../../src/core/errors.ts';
import type { App } from './app.ts';

/** The error for a request without a route: an unknown path, or a method that the path does not support. */
export function noRoute(app: Hono<App>, { req: { method, path } }: Context<App>): ApiError {
  // Handlers of all methods are middleware.
  const routes = app.routes.filter((route) => route.method !== 'ALL' && matches(route.path, path));
  // A literal path takes precedence over a path with parameters.
  const exact = routes.filter((route) => route.path === path);
  const methods = new Set((exact.length > 0 ? exact : routes).map((route) => route.method));
  if (methods.size === 0) return new ApiError('not-found', `No route for ${method} ${path}. See /docs.`);
  if (methods.has('GET')) methods.add('HEAD');
  const allowed = [...methods].sort().join(', ');
  return new ApiError('method-not-allowed', `${path} supports ${allowed}, not ${method}. See /docs.`, {
    headers: { Allow: allowed },
  });
}

function matches(pattern: string, path: string): boolean {
  const [parts, given] = [pattern.split('/'), path.split('/')];
  return (
    parts.length === given.length &&
    parts.every((part, i) => (part.startsWith(':') ? given[i] !== '' : part === given[i]))
  );
}
