import { cp, mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';

const cacheDir = join(import.meta.dirname, '../../../node_modules/.cache/timestore');

/**
 * Gives a new data directory an initialised cluster. Making one takes PGlite some three seconds, so the first one made
 * on a machine is kept, and later ones are copies of it.
 */
export async function initialiseDataDir(dataDir: string): Promise<void> {
  if (await exists(join(dataDir, 'PG_VERSION'))) return;
  const template = join(cacheDir, `pglite-${await pgliteVersion()}`);
  const partial = `${dataDir}.partial`;
  await rm(partial, { recursive: true, force: true });
  if (await exists(template)) {
    await cp(template, partial, { recursive: true });
  } else {
    const db = await PGlite.create({ dataDir: partial });
    await db.close();
    await keepTemplate(partial, template);
  }
  // A directory that stopped half-way must never look initialised.
  await rm(dataDir, { recursive: true, force: true });
  await rename(partial, dataDir);
}

/** Saves time later on. Where the cache cannot be written, that is all there is to lose. */
async function keepTemplate(from: string, template: string): Promise<void> {
  const partial = `${template}.${process.pid}`;
  try {
    await mkdir(cacheDir, { recursive: true });
    await cp(from, partial, { recursive: true });
    await rename(partial, template);
  } catch {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined);
  }
}

async function pgliteVersion(): Promise<string> {
  const main = createRequire(import.meta.url).resolve('@electric-sql/pglite');
  const manifest = join(dirname(main), '../package.json');
  return (JSON.parse(await readFile(manifest, 'utf8')) as { version: string }).version;
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
