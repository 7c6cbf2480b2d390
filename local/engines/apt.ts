import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * Installs a package when run as root on Debian or a derivative.
 *
 * @returns a text for the error message when the installation failed, otherwise an empty one
 */
export function installWithApt(name: string, searchPath = process.env.PATH ?? ''): string {
  const apt = onPath(['apt-get'], searchPath);
  if (!apt || process.getuid?.() !== 0) return '';
  const run = (...args: string[]) =>
    spawnSync(apt, args, {
      encoding: 'utf8',
      timeout: 180_000,
      // The installation would start a server on the default port; RUNLEVEL=1 makes invoke-rc.d skip that.
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
    });
  const install = ['install', '-y', '--no-install-recommends', name];
  let result = run(...install);
  if (result.status !== 0) {
    run('update');
    result = run(...install);
  }
  if (result.status === 0) return '';
  const reason = result.error?.message ?? result.stderr.trim().split('\n').at(-1) ?? '';
  return `, and apt-get could not install it (${reason})`;
}

/** Path of the first program that is on the PATH. */
export function onPath(names: string[], searchPath = process.env.PATH ?? ''): string | undefined {
  for (const name of names) {
    for (const directory of searchPath.split(delimiter).filter(Boolean)) {
      const file = join(directory, name);
      try {
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        // The next directory may have it.
      }
    }
  }
  return undefined;
}
