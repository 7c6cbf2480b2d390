import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { EngineDefinition } from '../engine.ts';
import { findRedisServer } from './find.ts';
import type { RedisOptions } from './process.ts';

export function localRedisUrl(port: number): string {
  return `redis://127.0.0.1:${port}`;
}

export function redisEngine(dataDir: string, port: number): EngineDefinition {
  const dir = join(dataDir, 'redis');
  mkdirSync(dir, { recursive: true });
  const options: RedisOptions = {
    server: findRedisServer(),
    args: [
      '--bind',
      '127.0.0.1',
      '--port',
      String(port),
      '--dir',
      dir,
      '--daemonize',
      'no',
      '--logfile',
      '',
      // Acknowledged writes are on disk, as the hosted service guarantees.
      '--appendonly',
      'yes',
      '--appendfsync',
      'always',
      '--save',
      '',
      // A full buffer rejects writes. It must not evict rows.
      '--maxmemory-policy',
      'noeviction',
    ],
  };
  return {
    name: 'redis',
    url: localRedisUrl(port),
    script: join(import.meta.dirname, 'process.ts'),
    options,
    probe: () => ping(port),
  };
}

/** Sends one PING over a new connection. While Redis loads its file it answers -LOADING and is not ready. */
function ping(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.setTimeout(1_000, () => socket.destroy(new Error('no answer to PING')));
    socket.once('connect', () => socket.write('PING\r\n'));
    socket.once('data', (data) => {
      socket.destroy();
      const reply = data.toString('latin1').trim();
      if (reply === '+PONG') resolve();
      else reject(new Error(`PING was answered ${reply}`));
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed without an answer')));
  });
}
