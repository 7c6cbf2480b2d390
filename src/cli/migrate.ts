import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ClickHouse, createClickHouse } from '../clickhouse/client.ts';
import { readMigrationConfig } from '../config.ts';
import { TimestoreError } from '../errors.ts';
import { createPostgres, type Postgres } from '../postgres/client.ts';
import { splitStatements } from './split-statements.ts';

const sqlDir = join(import.meta.dirname, '..', '..', 'sql');

type Migration = { name: string; statements: string[]; checksum: string };

/** One number for all that migrate one database: what `pg_advisory_xact_lock` waits on. */
const lockId = 7_308_906;

/**
 * Brings Postgres and ClickHouse to the numbered files in sql/. Safe to repeat, and to run twice at the same time. Reads
 * where they are from the variables that the Worker has.
 *
 * @returns the names of the Postgres migrations that were applied now
 * @throws ConfigError; StoreError; TimestoreError `conflict` for a file that has changed since it was applied
 */
export async function migrate(env: Record<string, string | undefined>): Promise<string[]> {
  const config = readMigrationConfig(env);
  const [applied] = await Promise.all([
    migratePostgres(createPostgres(config)),
    migrateClickHouse(createClickHouse(config.CLICKHOUSE_URL, config.CLICKHOUSE_USER, config.CLICKHOUSE_PASSWORD)),
  ]);
  return applied;
}

/**
 * Each file in a transaction of its own, under a lock: what comes second waits, and then finds the file on record, which
 * fails its own record and with it the whole transaction.
 */
async function migratePostgres(postgres: Postgres): Promise<string[]> {
  await postgres.transaction([
    ['select pg_advisory_xact_lock($1)', [lockId]],
    [
      `create table if not exists migrations (
         name text primary key, checksum text not null, applied_at timestamptz not null default now())`,
    ],
  ]);
  const applied: string[] = [];
  for (const migration of migrationsIn('postgres')) {
    if (await isApplied(postgres, migration)) continue;
    try {
      await postgres.transaction([
        ['select pg_advisory_xact_lock($1)', [lockId]],
        ['insert into migrations (name, checksum) values ($1, $2)', [migration.name, migration.checksum]],
        ...migration.statements.map((statement): [string] => [statement]),
      ]);
      applied.push(migration.name);
    } catch (error) {
      if (!(await isApplied(postgres, migration))) throw error;
    }
  }
  return applied;
}

async function isApplied(postgres: Postgres, { name, checksum }: Migration): Promise<boolean> {
  const [row] = await postgres.rows<{ checksum: string }>('select checksum from migrations where name = $1', [name]);
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
async function migrateClickHouse(clickhouse: ClickHouse): Promise<void> {
  for (const { statements } of migrationsIn('clickhouse')) {
    for (const statement of statements) await clickhouse.command(statement);
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
