import { join } from 'node:path';
import { withoutLogin } from '../addresses.ts';
import { local } from '../credentials.ts';
import type { EngineDefinition } from '../engine.ts';
import type { Login } from './neon.ts';
import type { PostgresOptions } from './process.ts';

type PostgresPlace = { dataDir: string; wirePort: number; neonPort: number; url: string };

export function localPostgresUrl(wirePort: number): string {
  const { user, password, database } = local.postgres;
  return `postgresql://${user}:${password}@127.0.0.1:${wirePort}/${database}`;
}

/** The Neon front, with PGlite behind it unless the URL names an external server. */
export function postgresEngine({ dataDir, wirePort, neonPort, url }: PostgresPlace): EngineDefinition {
  const login = parseLogin(url);
  const endpoint = `http://127.0.0.1:${neonPort}/sql`;
  const options: PostgresOptions = {
    neonPort,
    login,
    backend: url === localPostgresUrl(wirePort) ? { wirePort, dataDir: join(dataDir, 'postgres') } : { url },
  };
  return {
    name: 'postgres',
    url: withoutLogin(url),
    script: join(import.meta.dirname, 'process.ts'),
    options,
    probe: async (signal) => {
      const response = await fetch(endpoint, {
        method: 'POST',
        headers: { 'neon-connection-string': url, 'neon-raw-text-output': 'true', 'neon-array-mode': 'true' },
        body: '{"query":"SELECT 1"}',
        signal,
      });
      const answer = await response.text();
      if (!response.ok) throw new Error(answer.slice(0, 200));
    },
  };
}

function parseLogin(url: string): Login {
  const { username, password, pathname } = new URL(url);
  return {
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)),
  };
}
