import { join } from 'node:path';
import { local } from '../credentials.ts';
import type { EngineDefinition } from '../engine.ts';
import type { UpstashOptions } from './process.ts';

export function upstashEngine(port: number, redisUrl: string): EngineDefinition {
  const url = `http://127.0.0.1:${port}`;
  const { token } = local.upstash;
  const options: UpstashOptions = { port, token, redisUrl };
  return {
    name: 'upstash',
    url,
    script: join(import.meta.dirname, 'process.ts'),
    options,
    probe: async (signal) => {
      const response = await fetch(`${url}/ping`, { headers: { authorization: `Bearer ${token}` }, signal });
      if (!response.ok) throw new Error(await response.text());
      await response.text();
    },
  };
}
