import { describe, expect, test } from 'vitest';
import { until, useStack } from './support.ts';

const stack = useStack();

type Sender = (sql: string, settings?: Record<string, string>, files?: Record<string, string>) => Promise<string>;

/** Sends a query as one of the two users. Rejects with ClickHouse's own words. */
function as(user: 'writer' | 'reader'): Sender {
  return async (sql, settings = {}, files) => {
    const { env } = stack();
    const name = user === 'writer' ? 'CLICKHOUSE' : 'CLICKHOUSE_READER';
    const headers = {
      'X-ClickHouse-User': env[`${name}_USER`] ?? '',
      'X-ClickHouse-Key': env[`${name}_PASSWORD`] ?? '',
    };
    const form = new FormData();
    form.append('query', sql);
    for (const [file, content] of Object.entries(files ?? {})) form.append(file, new Blob([content]), file);
    const response = await fetch(`${env.CLICKHOUSE_URL}/?${new URLSearchParams(settings)}`, {
      method: 'POST',
      headers,
      body: files ? form : sql,
    });
    const answer = await response.text();
    if (!response.ok) throw new Error(answer);
    return answer.trimEnd();
  };
}

const writer = as('writer');
const reader = as('reader');

test('the writer makes databases, tables with volumes and views, and reads the logs', async () => {
  await writer('CREATE DATABASE IF NOT EXISTS ts_made');
  await writer(`CREATE TABLE ts_made.t (a Int64, at DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY a
                SETTINGS storage_policy = 'tiered', non_replicated_deduplication_window = 100`);
  await writer('CREATE MATERIALIZED VIEW ts_made.v ENGINE = MergeTree ORDER BY a AS SELECT a FROM ts_made.t');
  await writer('INSERT INTO ts_made.t SELECT number, now64() FROM numbers(10)');
  await writer('ALTER TABLE ts_made.t ADD COLUMN b Nullable(String)');
  expect(await writer('SELECT count(), count(b) FROM ts_made.t')).toBe('10\t0');
  expect(await writer('SELECT count() FROM ts_made.v')).toBe('10');
  await writer('SYSTEM FLUSH LOGS');
  expect(Number(await writer("SELECT count() FROM system.part_log WHERE database = 'ts_made'"))).toBeGreaterThan(0);
  expect(Number(await writer("SELECT count() FROM system.query_log WHERE type = 'QueryFinish'"))).toBeGreaterThan(0);
  await writer('DROP DATABASE ts_made');
});

test('an insert repeated with its token is stored once', async () => {
  await writer('CREATE DATABASE IF NOT EXISTS ts_token');
  await writer(`CREATE TABLE IF NOT EXISTS ts_token.t (a Int64) ENGINE = MergeTree ORDER BY a
                SETTINGS non_replicated_deduplication_window = 100`);
  const token = { insert_deduplication_token: 'one', async_insert: '0' };
  for (let n = 0; n < 3; n += 1) await writer('INSERT INTO ts_token.t VALUES (1), (2)', token);
  expect(await writer('SELECT count() FROM ts_token.t')).toBe('2');
});

describe('the reader', () => {
  const prepare = async () => {
    await writer('CREATE DATABASE IF NOT EXISTS ts_read');
    await writer('CREATE DATABASE IF NOT EXISTS timestore');
    await writer('CREATE TABLE IF NOT EXISTS ts_read.t (a Int64) ENGINE = MergeTree ORDER BY a');
    for (const name of ['ingest_watermarks', 'secrets']) {
      await writer(`CREATE TABLE IF NOT EXISTS timestore.${name} (a Int64) ENGINE = MergeTree ORDER BY a`);
    }
    await writer('TRUNCATE TABLE ts_read.t');
    await writer('INSERT INTO ts_read.t VALUES (7), (8)');
  };

  test('queries data together with a tail it sends along, with parameters and settings', async () => {
    await prepare();
    const answer = await reader(
      `SELECT * FROM (
         SELECT a, 'table' AS source, toDateTime64(0, 3, 'UTC') AS at FROM ts_read.t WHERE a = {wanted:Int64}
         UNION ALL SELECT a, b, at FROM tail
       ) ORDER BY a FORMAT JSONEachRow`,
      {
        tail_format: 'JSONEachRow',
        tail_structure: "a Int64, b String, at DateTime64(3, 'UTC')",
        param_wanted: '7',
        max_execution_time: '5',
        max_result_rows: '1000',
        wait_end_of_query: '1',
        output_format_json_quote_64bit_integers: '0',
        date_time_output_format: 'iso',
      },
      { tail: '{"a":9007199254740993,"b":"tail","at":"2026-05-01T10:00:00.123Z"}\n' },
    );
    expect(answer.split('\n')).toEqual([
      '{"a":7,"source":"table","at":"1970-01-01T00:00:00.000Z"}',
      '{"a":9007199254740993,"source":"tail","at":"2026-05-01T10:00:00.123Z"}',
    ]);
  });

  test('reads watermarks, and no other table of the system', async () => {
    await prepare();
    expect(await reader('SELECT count() FROM timestore.ingest_watermarks')).toBe('0');
    await expect(reader('SELECT * FROM timestore.secrets')).rejects.toThrow('ACCESS_DENIED');
    await expect(reader("SELECT * FROM merge('timestore', 'secrets')")).rejects.toThrow();
  });

  test.each([
    'INSERT INTO ts_read.t VALUES (1)',
    'CREATE TABLE ts_read.x (a Int8) ENGINE = Memory',
    'CREATE DATABASE ts_other',
    'DROP TABLE ts_read.t',
    'TRUNCATE TABLE ts_read.t',
    'ALTER TABLE ts_read.t DELETE WHERE 1',
    'OPTIMIZE TABLE ts_read.t',
    'CREATE FUNCTION f AS x -> x',
    'CREATE TEMPORARY TABLE x (a Int8)',
    "CREATE TEMPORARY TABLE x (a String) ENGINE = File(CSV, '/tmp/x')",
    'SYSTEM FLUSH LOGS',
    'KILL QUERY WHERE 1',
    "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
    "SELECT * FROM s3('http://127.0.0.1:1/bucket/key', 'key', 'secret', LineAsString)",
    "SELECT * FROM file('/etc/hostname', LineAsString)",
    "SELECT * FROM remote('127.0.0.1', system.one)",
    "SELECT * FROM postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    'SELECT * FROM system.query_log',
    'SELECT * FROM system.processes',
    'SELECT * FROM system.users',
    'SELECT * FROM system.parts',
    'SHOW CREATE TABLE timestore.secrets',
  ])('is denied: %s', async (sql) => {
    await expect(reader(sql)).rejects.toThrow(/ACCESS_DENIED|READONLY/);
  });

  test.each([
    { max_execution_time: '601' },
    { max_execution_time: '0' },
    { max_memory_usage: '4294967297' },
    { max_memory_usage: '0' },
    { max_memory_usage_for_user: '0' },
    { max_query_size: '8388609' },
    { log_queries: '0' },
    { allow_ddl: '1' },
    { readonly: '0' },
    { profile: 'writer', max_execution_time: '601' },
  ])('cannot raise a limit: %o', async (settings) => {
    await expect(reader('SELECT 1', settings)).rejects.toThrow(
      /SETTING_CONSTRAINT_VIOLATION|READONLY|QUERY_IS_PROHIBITED/,
    );
    const clause = Object.entries(settings).map(([name, value]) => `${name} = '${value}'`);
    await expect(reader(`SELECT 1 SETTINGS ${clause}`)).rejects.toThrow();
  });

  test('is held to the limits it has', async () => {
    await expect(
      reader('SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1', { max_execution_time: '0.2' }),
    ).rejects.toThrow('TIMEOUT_EXCEEDED');
    await expect(
      reader('SELECT groupArray(number) FROM numbers(100000000)', { max_memory_usage: '10000000' }),
    ).rejects.toThrow('MEMORY_LIMIT_EXCEEDED');
  });
});

test('no data is readable without a password', async () => {
  await writer('CREATE DATABASE IF NOT EXISTS ts_guarded');
  await writer('CREATE TABLE IF NOT EXISTS ts_guarded.t (a Int64) ENGINE = MergeTree ORDER BY a');
  for (const user of ['default', 'timestore_writer', 'timestore_reader']) {
    for (const sql of ['SELECT * FROM ts_guarded.t', "SELECT * FROM file('/etc/hostname', LineAsString)"]) {
      const headers = { 'X-ClickHouse-User': user };
      const response = await fetch(stack().env.CLICKHOUSE_URL ?? '', { method: 'POST', headers, body: sql });
      expect(await response.text()).toMatch(/ACCESS_DENIED|AUTHENTICATION_FAILED|REQUIRED_PASSWORD/);
    }
  }
});

describe('the cold volume', () => {
  const placesOf = (table: string) =>
    writer(`SELECT DISTINCT disk_name FROM system.parts WHERE database = 'ts_cold' AND table = '${table}' AND active`);

  test('takes a partition that is moved to it, and gives its rows back, also after kill -9', async () => {
    await writer('CREATE DATABASE IF NOT EXISTS ts_cold');
    await writer(`CREATE TABLE ts_cold.moved (day Date, a Int64) ENGINE = MergeTree PARTITION BY day ORDER BY a
                  SETTINGS storage_policy = 'tiered'`);
    await writer("INSERT INTO ts_cold.moved SELECT '2026-05-01', number FROM numbers(10000)");
    expect(await placesOf('moved')).toBe('default');
    await writer("ALTER TABLE ts_cold.moved MOVE PARTITION '2026-05-01' TO VOLUME 'cold'");
    expect(await placesOf('moved')).toBe('cold');
    expect(await reader('SELECT count(), sum(a) FROM ts_cold.moved')).toBe('10000\t49995000');
    stack().engines.clickhouse.kill('SIGKILL');
    await stack().engines.clickhouse.restart();
    expect(await placesOf('moved')).toBe('cold');
    expect(await reader('SELECT count(), sum(a) FROM ts_cold.moved')).toBe('10000\t49995000');
  });

  test('takes rows by their TTL, but never at insert', async () => {
    await writer('CREATE DATABASE IF NOT EXISTS ts_cold');
    await writer(`CREATE TABLE ts_cold.aged (at DateTime, a Int64) ENGINE = MergeTree ORDER BY a
                  TTL at + INTERVAL 1 DAY TO VOLUME 'cold' SETTINGS storage_policy = 'tiered'`);
    await writer('SYSTEM STOP MOVES ts_cold.aged');
    await writer('INSERT INTO ts_cold.aged SELECT now() - INTERVAL 3 DAY, number FROM numbers(1000)');
    expect(await placesOf('aged')).toBe('default');
    await writer('SYSTEM START MOVES ts_cold.aged');
    await until('the old rows are on S3', async () => (await placesOf('aged')) === 'cold');
    expect(await reader('SELECT count(), sum(a) FROM ts_cold.aged')).toBe('1000\t499500');
  });
});

test('acknowledged inserts survive kill -9', async () => {
  await writer('CREATE DATABASE IF NOT EXISTS ts_durable');
  await writer('CREATE TABLE ts_durable.t (a Int64) ENGINE = MergeTree ORDER BY a');
  for (let n = 0; n < 10; n += 1) await writer(`INSERT INTO ts_durable.t SELECT number + ${n} * 100 FROM numbers(100)`);
  stack().engines.clickhouse.kill('SIGKILL');
  await stack().engines.clickhouse.restart();
  expect(await reader('SELECT count(), uniqExact(a) FROM ts_durable.t')).toBe('1000\t1000');
});

test('a server that is stopped leaves its rows', async () => {
  await writer('CREATE DATABASE IF NOT EXISTS ts_stopped');
  await writer('CREATE TABLE ts_stopped.t (a Int64) ENGINE = MergeTree ORDER BY a');
  await writer('INSERT INTO ts_stopped.t SELECT number FROM numbers(100)');
  await stack().engines.clickhouse.stop();
  await stack().engines.clickhouse.restart();
  expect(await reader('SELECT count() FROM ts_stopped.t')).toBe('100');
});
