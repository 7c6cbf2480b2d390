import { neon, neonConfig } from '@neondatabase/serverless';
import pg from 'pg';
import { expect, test } from 'vitest';
import { describeNeonFront } from './postgres-suite.ts';
import { useStack } from './support.ts';

const stack = useStack();
const databaseUrl = () => stack().env.DATABASE_URL as string;

describeNeonFront('the Neon front on PGlite', () => ({
  databaseUrl: databaseUrl(),
  endpoint: stack().env.NEON_FETCH_ENDPOINT as string,
}));

function connect() {
  neonConfig.fetchEndpoint = stack().env.NEON_FETCH_ENDPOINT as string;
  return neon(databaseUrl());
}

async function connectWire(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: databaseUrl() });
  await client.connect();
  return client;
}

test('pgvector is there', async () => {
  const sql = connect();
  await sql`CREATE EXTENSION IF NOT EXISTS vector`;
  expect(await sql`SELECT '[1,2,3]'::vector <-> '[1,2,5]'::vector AS distance`).toEqual([{ distance: 2 }]);
});

test('a transaction over the wire keeps requests over HTTP out until it has ended', async () => {
  const sql = connect();
  await sql`CREATE TABLE IF NOT EXISTS turns (who text)`;
  const wire = await connectWire();
  await wire.query('BEGIN');
  await wire.query("INSERT INTO turns VALUES ('wire')");
  let counted = false;
  const count = sql`SELECT count(*)::int AS n FROM turns`.then((rows) => {
    counted = true;
    return rows;
  });
  for (let n = 0; n < 20; n += 1) await wire.query('SELECT 1');
  expect(counted).toBe(false);
  await wire.query('COMMIT');
  expect(await count).toEqual([{ n: 1 }]);
  await wire.end();
});

test('a connection that breaks inside a transaction is rolled back and blocks no other', async () => {
  const sql = connect();
  await sql`CREATE TABLE IF NOT EXISTS broken (a int)`;
  const wire = await connectWire();
  wire.on('error', () => undefined);
  await wire.query('BEGIN');
  await wire.query('INSERT INTO broken VALUES (1)');
  (wire as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  expect(await sql`SELECT count(*)::int AS n FROM broken`).toEqual([{ n: 0 }]);
});

test('prepared queries of many connections at once do not meet', async () => {
  const clients = await Promise.all(Array.from({ length: 8 }, connectWire));
  await Promise.all(
    clients.map(async (client, of) => {
      for (let n = 0; n < 25; n += 1) {
        const { rows } = await client.query(`SELECT $1::int + ${of} * 1000 AS n`, [n]);
        expect(rows).toEqual([{ n: of * 1000 + n }]);
      }
    }),
  );
  await Promise.all(clients.map((client) => client.end()));
});

test('ClickHouse reads a table through postgresql()', async () => {
  const { env } = stack();
  const sql = connect();
  await sql`CREATE TABLE IF NOT EXISTS read_by_clickhouse (id bigint, name text)`;
  await sql`INSERT INTO read_by_clickhouse VALUES (9007199254740993, 'grüße')`;
  const { host, username, password, pathname } = new URL(databaseUrl());
  const answer = await fetch(env.CLICKHOUSE_URL as string, {
    method: 'POST',
    headers: { 'X-ClickHouse-User': env.CLICKHOUSE_USER ?? '', 'X-ClickHouse-Key': env.CLICKHOUSE_PASSWORD ?? '' },
    body: `SELECT * FROM postgresql('${host}', '${pathname.slice(1)}', 'read_by_clickhouse', '${username}', '${password}')`,
  });
  expect(await answer.text()).toBe('9007199254740993\tgrüße\n');
});

test('committed rows survive kill -9', async () => {
  const sql = connect();
  await sql`CREATE TABLE IF NOT EXISTS durable (id int)`;
  await Promise.all(Array.from({ length: 20 }, (_, id) => sql`INSERT INTO durable VALUES (${id})`));
  stack().engines.postgres.kill('SIGKILL');
  await stack().engines.postgres.restart();
  expect(await sql`SELECT count(*)::int AS n FROM durable`).toEqual([{ n: 20 }]);
});
