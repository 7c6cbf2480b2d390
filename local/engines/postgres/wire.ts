import { createServer, type Server } from 'node:net';
import type { PGlite } from '@electric-sql/pglite';
import { PGLiteSocketHandler, type PGLiteSocketHandlerOptions } from '@electric-sql/pglite-socket';
import { takeTurns } from './turns.ts';

/** Serves one PGlite to any number of connections over the Postgres protocol, without a password. */
export function wireServer(db: PGlite): Server {
  const turns = takeTurns(db) as unknown as PGLiteSocketHandlerOptions['queryQueue'];
  return createServer((socket) => {
    socket.on('error', () => socket.destroy());
    const handler = new PGLiteSocketHandler({ queryQueue: turns, closeOnDetach: true });
    handler.attach(socket).catch(() => socket.destroy());
  });
}
