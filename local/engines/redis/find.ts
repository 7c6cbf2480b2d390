import { installWithApt, onPath } from '../apt.ts';
import { EngineFailure } from '../failure.ts';

const serverNames = ['redis-server', 'valkey-server'];

/** Path of the Redis server. Installs it with apt-get when run as root on Debian; otherwise the error says how to install it. */
export function findRedisServer(searchPath = process.env.PATH ?? ''): string {
  const found = onPath(serverNames, searchPath);
  if (found) return found;
  const tried = installWithApt('redis-server', searchPath);
  const installed = onPath(serverNames, searchPath);
  if (installed) return installed;
  throw new EngineFailure(
    'redis',
    `neither redis-server nor valkey-server is on the PATH${tried}. Install one ` +
      '(Debian and Ubuntu: apt-get install redis-server; macOS: brew install redis), ' +
      'or set LOCAL_REDIS_URL to a running Redis server.',
  );
}
