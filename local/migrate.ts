/**
 * `npm run migrate`: brings Postgres and ClickHouse to the numbered files in sql/. Safe to repeat, and to run twice at
 * the same time. Reads the same environment as the Worker.
 *
 * @module
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../src/config.ts';
import { type Context, createContext } from '../src/context.ts';
import { StoreError, TimestoreError } from '../src/errors.ts';
import { splitStatements } from './split-statements.ts';

const sqlDir = join(import.meta.dirname, '..', 'sql');

type Migration = { name: string; statements: string[]; checksum: string };

/** One number for all that migrate one database: what `pg_advisory_xact_lock` waits on. */
const lockId = 7_308_906;

/** Returns the names of the Postgres migrations that were applied now. Throws ConfigError, StoreError. */
export async function migrate(env: Record<string, string | undefined>): Promise<string[]> {
  const ctx = createContext({ ...env, TIMESTORE_ADMIN_KEY: env.TIMESTORE_ADMIN_KEY ?? 'not-needed-to-migrate' });
  const [applied] = await Promise.all([migratePostgres(ctx), migrateClickHouse(ctx)]);
  return applied;
}

/**
 * Each file in a transaction of its own, under a lock: what comes second waits, and then finds the file on record, which
 * fails its own record and with it the whole transaction.
 */
async function migratePostgres(ctx: Context): Promise<string[]> {
  await ctx.postgres.transaction([
    ['select pg_advisory_xact_lock($1)', [lockId]],
    [
      `create table if not exists migrations (
         name text primary key, checksum text not null, applied_at timestamptz not null default now())`,
    ],
  ]);
  const applied: string[] = [];
  for (const migration of migrationsIn('postgres')) {
    if (await isApplied(ctx, migration)) continue;
    try {
      await ctx.postgres.transaction([
        ['select pg_advisory_xact_lock($1)', [lockId]],
        ['insert into migrations (name, checksum) values ($1, $2)', [migration.name, migration.checksum]],
        ...migration.statements.map((statement): [string] => [statement]),
      ]);
      applied.push(migration.name);
    } catch (error) {
      if (!(await isApplied(ctx, migration))) throw error;
    }
  }
  return applied;
}

async function isApplied(ctx: Context, { name, checksum }: Migration): Promise<boolean> {
  const [row] = await ctx.postgres.rows<{ checksum: string }>('select checksum from migrations where name = $1', [
    name,
  ]);
  if (row !== undefined && row.checksum !== checksum) {
    throw new TimestoreError(
      'conflict',
      `Migration ${name} was applied with another content. A migration never changes once it is out: restore the file, ` +
        'and put the change into a new one.',
    );
  }
  return row !== undefined;
}

/** Here every statement is one that can be repeated: ClickHouse has no transactions. */
async function migrateClickHouse(ctx: Context): Promise<void> {
  for (const { statements } of migrationsIn('clickhouse')) {
    for (const statement of statements) await ctx.clickhouse.command(statement);
  }
}

function migrationsIn(folder: string): Migration[] {
  return readdirSync(join(sqlDir, folder))
    .filter((name) => /^\d{4}_.*\.sql$/.test(name))
    .sort()
    .map((name) => {
      const text = readFileSync(join(sqlDir, folder, name), 'utf8');
      return { name, statements: splitStatements(text), checksum: createHash('sha256').update(text).digest('hex') };
    });
}

if (import.meta.main) {
  try {
    const applied = await migrate(process.env);
    console.log(applied.length === 0 ? 'Nothing to migrate.' : `Applied ${applied.join(', ')}.`);
  } catch (error) {
    const known = error instanceof ConfigError || error instanceof TimestoreError;
    console.error(known ? error.message : error);
    if (error instanceof StoreError && error.cause instanceof Error) console.error(error.cause.message);
    process.exitCode = 1;
  }
}
