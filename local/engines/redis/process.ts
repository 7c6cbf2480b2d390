import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { serveEngine } from '../serve.ts';

export type RedisOptions = { server: string; args: string[] };

/** redis-server knows nothing of our channel to the parent, so this process watches over it. */
serveEngine<RedisOptions>(async ({ server, args }) => {
  const redis = spawn(server, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  await once(redis, 'spawn');
  let stopping = false;
  const ended = once(redis, 'exit');
  ended.then(([code, signal]) => {
    if (stopping) return;
    console.error(`redis-server ended (${signal ?? `exit code ${code}`})`);
    process.exit(1);
  });
  return {
    pid: redis.pid,
    stop: async () => {
      stopping = true;
      redis.kill('SIGTERM');
      await ended;
    },
  };
});
