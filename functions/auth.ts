import { createMiddleware } from 'hono/factory';
import { TimestoreError } from '../src/errors.ts';
import type { App } from './app.ts';

/** Lets only the holder of the admin key go on. */
export const requireKey = createMiddleware<App>(async (c, next) => {
  const [, sent] = /^Bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '') ?? [];
  if (sent === undefined) {
    throw new TimestoreError('unauthenticated', 'Send a key: Authorization: Bearer <key>.');
  }
  if (!isSame(sent, c.get('timestore').config.TIMESTORE_ADMIN_KEY)) {
    throw new TimestoreError('unauthenticated', 'This key is not valid here.');
  }
  c.set('key', { id: 'admin', reads: () => true });
  await next();
});

/** Takes the same time wherever two texts of one length differ; the length is no secret. */
function isSame(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < b.length; i += 1) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}
