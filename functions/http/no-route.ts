import type { Context, Hono } from 'hono';
import { ApiError } from '../../src/core/errors.ts';
import type { App } from './app.ts';

/** Why a request has no route: its address has none, or its method is not one of those that the address has. */
export function noRoute(app: Hono<App>, { req: { method, path } }: Context<App>): ApiError {
  // Those of all methods are on the way to a route, and none themselves.
  const routes = app.routes.filter((route) => route.method !== 'ALL' && isOf(route.path, path));
  // An address that a route has as it stands is not one of those that a name makes.
  const exact = routes.filter((route) => route.path === path);
  const methods = new Set((exact.length > 0 ? exact : routes).map((route) => route.method));
  if (methods.size === 0) return new ApiError('not-found', `There is no ${method} ${path}. See /docs.`);
  if (methods.has('GET')) methods.add('HEAD');
  const allowed = [...methods].sort().join(', ');
  return new ApiError('method-not-allowed', `${path} takes ${allowed}, and not ${method}. See /docs.`, {
    headers: { Allow: allowed },
  });
}

function isOf(pattern: string, path: string): boolean {
  const [parts, given] = [pattern.split('/'), path.split('/')];
  return (
    parts.length === given.length &&
    parts.every((part, i) => (part.startsWith(':') ? given[i] !== '' : part === given[i]))
  );
}
