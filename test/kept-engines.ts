import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrate } from '../src/cli/migrate.ts';
import { readConfig } from '../src/core/config.ts';
import { createClickHouse } from '../src/stores/clickhouse/client.ts';
import { createPostgres } from '../src/stores/postgres/client.ts';
import { Redis } from '../src/stores/redis/client.ts';
import { testNodes } from './test-stack.ts';

/** Engines that `npm run engines` keeps up, for `npm run test:file`. */
type Kept = { pid: number; nodes: number; env: Record<string, string> };

const root = join(import.meta.dirname, '..');
const name = `timestore-engines-${createHash('sha256').update(root).digest('hex').slice(0, 12)}`;
/** Of this working copy: another one has engines of its own. */
const file = join(tmpdir(), `${name}.json`);
const lock = join(tmpdir(), `${name}.lock`);

export function recordKeptEngines(env: Record<string, string>): () => void {
  const kept: Kept = { pid: process.pid, nodes: testNodes, env };
  writeFileSync(file, JSON.stringify(kept), { mode: 0o600 });
  return () => rmSync(file, { force: true });
}

/** Whether engines of this working copy are kept up by a program that runs. */
export function keptEngines(): Kept | undefined {
  try {
    const kept = JSON.parse(readFileSync(file, 'utf8')) as Kept;
    return isRunning(kept.pid) ? kept : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The kept engines, emptied, for one run: a run finds nothing of the runs before it. A second run at the same time does
 * not get them.
 *
 * @returns undefined where the run has to start engines
 */
export async function useKeptEngines(): Promise<{ env: Record<string, string>; stop(): Promise<void> } | undefined> {
  if (process.env.TEST_ENGINES !== 'kept') return undefined;
  const kept = keptEngines();
  if (kept === undefined) {
    console.log('This run starts engines of its own. `npm run engines` keeps engines up between runs.');
    return undefined;
  }
  if (kept.nodes !== testNodes || !takeLock()) {
    console.log('The kept engines are in use or have another number of nodes: this run starts engines of its own.');
    return undefined;
  }
  const stop = () => {
    rmSync(lock, { recursive: true, force: true });
    return Promise.resolve();
  };
  try {
    await emptyEngines(kept.env);
  } catch (error) {
    await stop();
    throw new Error('The kept engines cannot be used. Stop `npm run engines` and start it again.', { cause: error });
  }
  return { env: kept.env, stop };
}

/** A lock of a run that has died is taken over. */
function takeLock(): boolean {
  const holder = join(lock, 'pid');
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      mkdirSync(lock);
      writeFileSync(holder, String(process.pid));
      return true;
    } catch {
      if (isRunning(Number(readFileSync(holder, 'utf8')))) return false;
      rmSync(lock, { recursive: true, force: true });
    }
  }
  return false;
}

/** Engines as after their start: empty, and of this version. */
export async function emptyEngines(env: Record<string, string>): Promise<void> {
  await empty(env);
  await migrate(env);
}

async function empty(env: Record<string, string>): Promise<void> {
  const config = readConfig(env);
  const postgres = createPostgres(config);
  const { CLICKHOUSE_SHARDS: shards, CLICKHOUSE_URL: url } = config;
  const servers = (shards?.flat() ?? [url]).map((each) => {
    return createClickHouse(each, config.CLICKHOUSE_USER, config.CLICKHOUSE_PASSWORD);
  });
  const tables = await postgres.rows<{ name: string }>(
    `select quote_ident(tablename) as name from pg_tables where schemaname = 'public' and tablename <> 'migrations'`,
  );
  await Promise.all([
    new Redis(config).inTurn([['FLUSHALL']]),
    tables.length > 0 && postgres.rows(`truncate ${tables.map((table) => table.name).join(', ')}`),
    ...servers.map(emptyServer),
  ]);
}

async function emptyServer(server: ReturnType<typeof createClickHouse>): Promise<void> {
  const databases = await server.rows<{ name: string }>(
    `SELECT name FROM system.databases WHERE startsWith(name, 'ts_')`,
  );
  for (const database of databases) await server.command(`DROP DATABASE \`${database.name}\` SYNC`);
  // The number of a shard stays.
  const tables = await server.rows<{ name: string }>(
    `SELECT name FROM system.tables WHERE database = 'timestore' AND name != 'shard' AND engine LIKE '%MergeTree'`,
  );
  for (const table of tables) await server.command(`TRUNCATE TABLE timestore.\`${table.name}\``);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
