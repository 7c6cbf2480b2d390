import { hash, timingSafeEqual } from 'node:crypto';
import { createMiddleware } from 'hono/factory';
import type { Context as Timestore } from '../src/context.ts';
import { TimestoreError } from '../src/errors.ts';
import type { App } from './app.ts';

/** Lets only the holder of the admin key go on. */
export const requireKey = createMiddleware<App>(async (c, next) => {
  const [, sent] = /^Bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '') ?? [];
  if (sent === undefined) {
    throw new TimestoreError('unauthenticated', 'Send a key: Authorization: Bearer <key>.');
  }
  // Hashes have one length, so the comparison takes the same time whatever was sent.
  if (!timingSafeEqual(hashOf(sent), adminHash(c.get('timestore')))) {
    throw new TimestoreError('unauthenticated', 'This key is not valid here.');
  }
  c.set('key', { id: 'admin', reads: () => true });
  await next();
});

const adminHashes = new WeakMap<Timestore, Buffer>();

function adminHash(timestore: Timestore): Buffer {
  const known = adminHashes.get(timestore) ?? hashOf(timestore.config.TIMESTORE_ADMIN_KEY);
  adminHashes.set(timestore, known);
  return known;
}

function hashOf(key: string): Buffer {
  return hash('sha256', key, 'buffer');
}
