import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { serveEngine } from '../serve.ts';

export type RedisOptions = { server: string; args: string[] };

/** Starts redis-server and ends it with the parent: redis-server itself has no channel to the parent. */
serveEngine<RedisOptions>(async ({ server, args }) => {
  const redis = spawn(server, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  await once(redis, 'spawn');
  let isStopping = false;
  const ended = once(redis, 'exit');
  ended.then(([code, signal]) => {
    if (isStopping) return;
    console.error(`redis-server ended (${signal ?? `exit code ${code}`})`);
    process.exit(1);
  });
  return {
    pid: redis.pid,
    stop: async () => {
      isStopping = true;
      redis.kill('SIGTERM');
      await ended;
    },
  };
});
