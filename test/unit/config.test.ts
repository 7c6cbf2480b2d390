import { expect, test } from 'vitest';
import { ConfigError, readConfig } from '../../src/core/config.ts';
import { environment } from './schema/support.ts';

function problemsOf(env: Record<string, string | undefined>): string[] {
  try {
    readConfig({ ...environment, ...env });
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

test('a complete environment has the documented limits', () => {
  expect(readConfig(environment).limits).toMatchObject({
    body_bytes_max: 10_485_760,
    request_rows_max: 50_000,
    chunk_bytes_max: 524_288,
    trigger_age_ms: 5_000,
    flush_rows_max: 50_000,
    flush_bytes_max: 8_388_608,
    tail_rows_max: 50_000,
    query_rows_default: 10_000,
  });
  expect(readConfig({ ...environment, TIMESTORE_TRIGGER_ROWS: '7' }).limits.trigger_rows).toBe(7);
});

test('everything missing or malformed is named at once, without its value', () => {
  const problems = problemsOf({
    CLICKHOUSE_URL: undefined,
    UPSTASH_REDIS_REST_TOKEN: '',
    DATABASE_URL: 'mysql://secret',
    TIMESTORE_LEASE_MS: '-1',
  });
  expect(problems.map((problem) => problem.split(':')[0]).sort()).toEqual([
    'CLICKHOUSE_URL',
    'DATABASE_URL',
    'TIMESTORE_LEASE_MS',
    'UPSTASH_REDIS_REST_TOKEN',
  ]);
  expect(problems.join()).not.toContain('secret');
  expect(problems).toContain('CLICKHOUSE_URL: is missing');
});

test('the key that everybody knows is refused unless the deployment says it is local', () => {
  expect(problemsOf({ TIMESTORE_ADMIN_KEY: 'local-admin' })).toHaveLength(1);
  expect(problemsOf({ TIMESTORE_ADMIN_KEY: 'local-admin', TIMESTORE_LOCAL: 'true' })).toEqual([]);
});

test('the original is known with its address and a key, or not at all', () => {
  const [url, key] = [{ TIMESTORE_ORIGIN_URL: 'https://original.example' }, { TIMESTORE_ORIGIN_KEY: 'a-secret' }];
  expect(problemsOf({ ...url, ...key })).toEqual([]);
  expect(problemsOf(url)).toEqual([expect.stringMatching(/^TIMESTORE_ORIGIN_KEY: is missing/)]);
  expect(problemsOf(key)).toEqual([expect.stringMatching(/^TIMESTORE_ORIGIN_URL: is missing/)]);
  expect(problemsOf({ ...url, TIMESTORE_ORIGIN_KEY: 'two\nlines' }).join()).not.toContain('lines');
});

test('what goes to the hot buffer in one piece fits into a request, whatever has to be escaped in it', () => {
  expect(problemsOf({ TIMESTORE_ROW_BYTES_MAX: '2000000' })).toEqual([
    'TIMESTORE_REDIS_WIRE_BYTES_MAX: must be at least 8 times TIMESTORE_ROW_BYTES_MAX',
  ]);
  expect(problemsOf({ TIMESTORE_ROW_BYTES_MAX: '2000000', TIMESTORE_REDIS_WIRE_BYTES_MAX: '16000000' })).toEqual([]);
});
