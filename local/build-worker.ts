import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { StartFailure } from './failure.ts';
import { environmentForWorker, root } from './options.ts';

/** Wrangler sends nothing over the network and does not write into the user's own Wrangler settings. */
const quiet = {
  CI: 'true',
  NO_COLOR: '1',
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_SEND_ERROR_REPORTS: 'false',
  WRANGLER_HIDE_BANNER: 'true', // the banner includes a check for updates
  WRANGLER_WRITE_LOGS: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
};

/**
 * Bundles the Worker as for a deployment.
 *
 * @param outDir receives `worker.js` and the text files that it imports
 * @param signal ends the build
 * @throws StartFailure with the bundler's output
 */
export async function buildWorker(outDir: string, signal?: AbortSignal): Promise<void> {
  const wrangler = join(root, 'node_modules', 'wrangler', 'bin', 'wrangler.js');
  const env = { ...environmentForWorker(process.env), ...quiet, XDG_CONFIG_HOME: join(outDir, 'config') };
  const args = [wrangler, 'deploy', '--dry-run', '--config', join(root, 'wrangler.toml'), '--outdir', outDir];
  try {
    await promisify(execFile)(process.execPath, args, { cwd: root, env, signal });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new StartFailure(`The Worker cannot be built:\n${`${stdout}\n${stderr}`.trim()}`, { cause: error });
  }
}
