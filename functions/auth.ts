import { createHash, timingSafeEqual } from 'node:crypto';
import { createMiddleware } from 'hono/factory';
import { TimestoreError } from '../src/errors.ts';
import type { App } from './app.ts';

/** Lets only the holder of the admin key go on. */
export const requireKey = createMiddleware<App>(async (c, next) => {
  const [, sent] = /^Bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '') ?? [];
  if (sent === undefined) {
    throw new TimestoreError('unauthenticated', 'Send a key: Authorization: Bearer <key>.');
  }
  // Hashes have one length, so the comparison takes the same time whatever was sent.
  if (!timingSafeEqual(hash(sent), hash(c.get('timestore').config.TIMESTORE_ADMIN_KEY))) {
    throw new TimestoreError('unauthenticated', 'This key is not valid here.');
  }
  c.set('key', { id: 'admin', reads: () => true });
  await next();
});

function hash(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
