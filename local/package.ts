/**
 * `npm run build:package`: the typed client and the command line as JavaScript, in .package/. Dependencies are not bundled:
 * npm installs them with the package.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, transformSync } from 'esbuild';

const root = join(import.meta.dirname, '..');

/** Builds both into a folder, after removing its earlier content. */
export async function buildPackage(folder: string): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const project = join(root, 'src', 'client', 'tsconfig.json');
  execFileSync(process.execPath, [tsc, '-p', project, '--outDir', join(folder, 'client')], { stdio: 'inherit' });
  minifyFiles(join(folder, 'client'));
  await build({
    entryPoints: [join(root, 'src', 'cli', 'main.ts')],
    outdir: join(folder, 'cli'),
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node22.12',
    packages: 'external',
    loader: { '.lua': 'text', '.sql': 'text' },
    logLevel: 'warning',
  });
}

/** Browsers need no comments: the declaration files keep them. */
function minifyFiles(folder: string): void {
  for (const name of readdirSync(folder)) {
    if (!name.endsWith('.js')) continue;
    const { code } = transformSync(readFileSync(join(folder, name), 'utf8'), {
      target: 'es2024',
      minify: true,
    });
    writeFileSync(join(folder, name), code);
  }
}

if (import.meta.main) await buildPackage(join(root, '.package'));
