import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { type MigrateConfig, readMigrateConfig } from '../core/config.ts';
import { ApiError } from '../core/errors.ts';
import { checkRows } from '../stores/check-rows.ts';
import { type ClickHouse, ClickHouseError, createClickHouse } from '../stores/clickhouse/client.ts';
import { engineSql } from '../stores/clickhouse/engine.ts';
import { findMissingLimits } from '../stores/clickhouse/users.ts';
import { createPostgres, type Postgres } from '../stores/postgres/client.ts';
import { splitStatements } from './split-statements.ts';

const sqlDir = join(import.meta.dirname, '..', '..', 'sql');

type Migration = { name: string; statements: string[]; checksum: string };

/** The key of the advisory lock, shared by all migrations of one database. */
const lockId = 7_308_906;

/**
 * Migrates Postgres and ClickHouse by the numbered files in sql/. Safe to repeat and to run concurrently. Uses the environment
 * variables of the Worker.
 *
 * @returns the names of the Postgres migrations that were applied now
 * @throws ConfigError; StoreError; ApiError `conflict` for a file that has changed since it was applied
 */
export async function migrate(env: Record<string, string | undefined>): Promise<string[]> {
  const config = readMigrateConfig(env);
  const [applied] = await Promise.all([migratePostgres(createPostgres(config)), migrateServers(config)]);
  return applied;
}

/**
 * Missing limits of the ClickHouse reader user on each server, or why they are unknown. Empty where the environment has no
 * reader user.
 *
 * @throws ConfigError
 */
export async function readerLacks(env: Record<string, string | undefined>): Promise<string[]> {
  const config = readMigrateConfig(env);
  const { CLICKHOUSE_READER_USER: user, CLICKHOUSE_READER_PASSWORD: password } = config;
  if (user === undefined || password === undefined) return [];
  const urls = config.CLICKHOUSE_SHARDS?.flat() ?? [config.CLICKHOUSE_URL];
  const lacking = await Promise.all(
    urls.map((url) =>
      findMissingLimits(createClickHouse(url, user, password)).catch((error) => {
        const why = error instanceof ClickHouseError ? `rejects the query (code ${error.code})` : 'does not answer';
        return [`its limits are unknown: ${new URL(url).host} ${why}`];
      }),
    ),
  );
  return [...new Set(lacking.flat())];
}

/**
 * Applies each file in its own transaction under a lock. A concurrent migration waits; its insert into the applied files then
 * fails, and with it its whole transaction.
 */
async function migratePostgres(postgres: Postgres): Promise<string[]> {
  await postgres.transaction([
    ['select pg_advisory_xact_lock($lockId)', { lockId }],
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
        ['select pg_advisory_xact_lock($lockId)', { lockId }],
        [
          'insert into migrations (name, checksum) values ($name, $checksum)',
          { name: migration.name, checksum: migration.checksum },
        ],
        ...migration.statements.map((statement): [string] => [statement]),
      ]);
      applied.push(migration.name);
    } catch (error) {
      if (!(await isApplied(postgres, migration))) throw error;
    }
  }
  return applied;
}

const isAppliedRow = z.object({ checksum: z.string() });

async function isApplied(postgres: Postgres, { name, checksum }: Migration): Promise<boolean> {
  const [row] = checkRows(
    isAppliedRow,
    await postgres.rows('select checksum from migrations where name = $name', {
      name,
    }),
  );
  if (row !== undefined && row.checksum !== checksum) {
    throw new ApiError(
      'conflict',
      `Migration ${name} was applied with another content. A migration never changes once it is out: restore the file, ` +
        'and put the change into a new one.',
    );
  }
  return row !== undefined;
}

/** The single server, or every node of the cluster. */
async function migrateServers(config: MigrateConfig): Promise<void> {
  const { CLICKHOUSE_USER: user, CLICKHOUSE_PASSWORD: password, CLICKHOUSE_SHARDS: shards } = config;
  if (shards === undefined) {
    await migrateClickHouse(createClickHouse(config.CLICKHOUSE_URL, user, password), (statement) => statement);
    return;
  }
  const isReplicated = shards.some((nodes) => nodes.length > 1);
  const nodes = shards.flatMap((urls, i) => {
    return urls.map((url) => ({ shard: i + 1, url, clickhouse: createClickHouse(url, user, password) }));
  });
  for (const { shard, clickhouse } of nodes) {
    await migrateClickHouse(clickhouse, (statement) => engineIn(statement, { isReplicated, shard }));
  }
  // Checks all servers before it changes any.
  const numbered: boolean[] = [];
  for (const node of nodes) numbered.push(await isNumbered(node));
  for (const [i, { shard, clickhouse }] of nodes.entries()) {
    if (!numbered[i]) await clickhouse.command(`INSERT INTO timestore.shard SETTINGS async_insert = 0 SELECT ${shard}`);
  }
}

/** Every statement can be repeated, because ClickHouse has no transactions. */
async function migrateClickHouse(clickhouse: ClickHouse, adapted: (statement: string) => string): Promise<void> {
  for (const { statements } of migrationsIn('clickhouse')) {
    for (const statement of statements) await clickhouse.command(adapted(statement));
  }
}

/** System tables of Timestore are replicated like the tables of datasets. */
export function engineIn(statement: string, { isReplicated, shard }: { isReplicated: boolean; shard: number }): string {
  const name = /CREATE TABLE IF NOT EXISTS (\S+)/.exec(statement)?.[1] ?? '';
  return statement.replace(/^ENGINE = (\w+)(?:\((.*)\))?/m, (_, engine: string, args = '') => {
    return `ENGINE = ${engineSql({ isReplicated, shard }, name, engine, args)}`;
  });
}

const isNumberedRow = z.object({ number: z.number(), rows: z.string() });

/**
 * Whether a server has its shard number. A server with rows and without a number is from before the cluster.
 *
 * @throws ApiError `conflict` where it cannot be the shard that it is to be
 */
async function isNumbered({ shard, url, clickhouse }: { shard: number; url: string; clickhouse: ClickHouse }) {
  const [found] = checkRows(
    isNumberedRow,
    await clickhouse.rows(
      `SELECT max(number) AS number,
            (SELECT sum(rows) FROM system.parts WHERE active AND startsWith(database, 'ts_')) AS rows FROM timestore.shard`,
    ),
  );
  if (found?.number === shard) return true;
  const { host } = new URL(url);
  if (found?.number !== 0) {
    throw new ApiError(
      'conflict',
      `The server at ${host} is shard ${found?.number}, and CLICKHOUSE_SHARDS has it as shard ${shard}. Put the addresses in ` +
        'their order again; further shards come last.',
    );
  }
  if (Number(found.rows) > 0 && shard !== 1) {
    throw new ApiError(
      'conflict',
      `The server at ${host} has rows of Timestore from before it was in a cluster: it must be the first in CLICKHOUSE_SHARDS.`,
    );
  }
  return false;
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
