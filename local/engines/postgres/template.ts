import { cp, mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';

const cacheDir = join(import.meta.dirname, '../../../node_modules/.cache/timestore');

/**
 * Initialises a new data directory. PGlite takes about three seconds for this, so the first result on a machine is cached
 * and copied later.
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
    await cacheTemplate(partial, template);
  }
  // A directory that is only partly written must never look initialised.
  await rm(dataDir, { recursive: true, force: true });
  await rename(partial, dataDir);
}

/** Saves time at the next start. A cache that cannot be written is no failure. */
async function cacheTemplate(from: string, template: string): Promise<void> {
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
