import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { EngineFailure } from '../failure.ts';

const serverNames = ['redis-server', 'valkey-server'];

/** The Redis server to run. On a Debian machine without one, root installs it; anybody else is told how. */
export function findRedisServer(searchPath = process.env.PATH ?? ''): string {
  const found = onPath(serverNames, searchPath);
  if (found) return found;
  const tried = installWithApt(searchPath);
  const installed = onPath(serverNames, searchPath);
  if (installed) return installed;
  throw new EngineFailure(
    'redis',
    `neither redis-server nor valkey-server is on the PATH${tried}. Install one ` +
      '(Debian and Ubuntu: apt-get install redis-server; macOS: brew install redis), ' +
      'or set LOCAL_REDIS_URL to a Redis that runs already.',
  );
}

/** Returns what to add to the failure when it did not help. */
function installWithApt(searchPath: string): string {
  const apt = onPath(['apt-get'], searchPath);
  if (!apt || process.getuid?.() !== 0) return '';
  const run = (...args: string[]) =>
    spawnSync(apt, args, {
      encoding: 'utf8',
      timeout: 180_000,
      // The package starts a server on the default port when it is installed; RUNLEVEL=1 tells invoke-rc.d not to.
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
    });
  const install = ['install', '-y', '--no-install-recommends', 'redis-server'];
  let result = run(...install);
  if (result.status !== 0) {
    run('update');
    result = run(...install);
  }
  if (result.status === 0) return '';
  const reason = result.error?.message ?? result.stderr.trim().split('\n').at(-1) ?? '';
  return `, and apt-get could not install it (${reason})`;
}

function onPath(names: string[], searchPath: string): string | undefined {
  for (const name of names) {
    for (const directory of searchPath.split(delimiter).filter(Boolean)) {
      const file = join(directory, name);
      try {
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        // Not here; the next directory may have it.
      }
    }
  }
  return undefined;
}
