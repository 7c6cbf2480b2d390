import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from 'redis';
import { local } from '../../../local/engines/credentials.ts';
import { findRedisServer } from '../../../local/engines/redis/find.ts';
import { openConnections } from '../../../local/engines/upstash/connections.ts';
import { upstashServer } from '../../../local/engines/upstash/server.ts';
import { freePorts } from '../../../local/stack.ts';

/** A Redis of a test's own behind Upstash's protocol, whose memory it may limit. */
export type OwnBuffer = {
  /** Environment values of a deployment whose hot buffer it is. */
  env: Record<string, string>;
  /** Straight to Redis, past the protocol. */
  command(...words: string[]): Promise<unknown>;
  /** Limits the memory to what is used now and so many bytes. */
  limitMemory(left_bytes: number): Promise<void>;
  /** Below all that is used: every command is refused that could use more. */
  exhaustMemory(): Promise<void>;
  freeMemory(): Promise<void>;
  stop(): Promise<void>;
};

/** @param wrap what answers in front of the protocol's server, to answer in its place */
export async function startOwnBuffer(wrap?: (next: RequestListener) => RequestListener): Promise<OwnBuffer> {
  const dir = mkdtempSync(join(tmpdir(), 'timestore-own-buffer-'));
  const { redis: port } = await freePorts();
  const settings = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--appendonly', 'no'];
  const redis = spawn(findRedisServer(), [...settings, '--maxmemory-policy', 'noeviction'], { stdio: 'ignore' });
  const url = `redis://127.0.0.1:${port}`;
  const direct = createClient({ url, socket: { reconnectStrategy: () => 20 } });
  direct.on('error', () => undefined);
  await direct.connect();
  const connections = openConnections(url);
  const server = upstashServer(connections, local.upstash.token);
  if (wrap !== undefined) {
    const [next] = server.listeners('request') as RequestListener[];
    server.removeAllListeners('request');
    if (next !== undefined) server.on('request', wrap(next));
  }
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const command = (...words: string[]) => direct.sendCommand(words);
  return {
    env: {
      UPSTASH_REDIS_REST_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      TIMESTORE_KEY_PREFIX: `own-${process.pid}-${port}`,
    },
    command,
    async limitMemory(left_bytes) {
      const info = String(await command('INFO', 'memory'));
      const used = Number(/used_memory:(\d+)/.exec(info)?.[1]);
      await command('CONFIG', 'SET', 'maxmemory', String(used + left_bytes));
    },
    async exhaustMemory() {
      await command('CONFIG', 'SET', 'maxmemory', '1');
    },
    async freeMemory() {
      await command('CONFIG', 'SET', 'maxmemory', '0');
    },
    async stop() {
      server.closeAllConnections();
      server.close();
      connections.close();
      direct.destroy();
      redis.kill('SIGKILL');
      if (redis.exitCode === null && redis.signalCode === null) await once(redis, 'exit');
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
