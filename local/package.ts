/**
 * `npm run build:package`: the typed client and the command line as JavaScript, in .package/. Packages stay outside: who
 * installs this one gets them along.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');

/** Builds both into a folder, in which nothing of an earlier version is left. */
export async function buildPackage(folder: string): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const project = join(root, 'src', 'client', 'tsconfig.json');
  execFileSync(process.execPath, [tsc, '-p', project, '--outDir', join(folder, 'client')], { stdio: 'inherit' });
  await build({
    entryPoints: [join(root, 'src', 'cli', 'main.ts')],
    outdir: join(folder, 'cli'),
    ...{ bundle: true, splitting: true, format: 'esm', platform: 'node', target: 'node22.12', packages: 'external' },
    loader: { '.lua': 'text', '.sql': 'text' },
    logLevel: 'warning',
  });
}

if (import.meta.main) await buildPackage(join(root, '.package'));
