import { once } from 'node:events';
import type { Server } from 'node:net';
import { PGlite } from '@electric-sql/pglite';
import { vector } from '@electric-sql/pglite-pgvector';
import pg from 'pg';
import { type Served, serveEngine } from '../serve.ts';
import { type Login, neonServer } from './neon.ts';
import { initialiseDataDir } from './template.ts';
import { wireServer } from './wire.ts';

export type PostgresOptions = {
  neonPort: number;
  login: Login;
  /** The Postgres behind the Neon front: an external server, or PGlite on this port and directory. */
  backend: { url: string } | { wirePort: number; dataDir: string };
};

const connections_max = 10;

serveEngine<PostgresOptions>(async ({ neonPort, login, backend }) => {
  const stops: (() => Promise<void>)[] = [];
  let url: string;
  if ('url' in backend) {
    url = backend.url;
  } else {
    const { wirePort, dataDir } = backend;
    await initialiseDataDir(dataDir);
    const db = await PGlite.create({ dataDir, extensions: { vector } });
    const wire = await listen(wireServer(db), wirePort);
    stops.push(async () => {
      wire.close();
      await db.close();
    });
    url = `postgresql://${login.user}@127.0.0.1:${wirePort}/${login.database}`;
  }
  const pool = new pg.Pool({ connectionString: url, max: connections_max, idleTimeoutMillis: 0 });
  // The next query replaces an idle connection that breaks. Without a listener the error would end the process.
  pool.on('error', (error) => console.error(error));
  const neon = await listen(neonServer(pool, login), neonPort);
  stops.unshift(async () => {
    neon.close();
    await pool.end();
  });
  return { stop: () => stopAll(stops) } satisfies Served;
});

async function listen<S extends Server>(server: S, port: number): Promise<S> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function stopAll(stops: (() => Promise<void>)[]): Promise<void> {
  for (const stop of stops) await stop();
}
