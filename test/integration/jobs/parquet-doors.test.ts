import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, describe, expect, test } from 'vitest';
import { createTable } from '../../../src/catalog/create-table.ts';
import { setUpLanes } from '../../../src/catalog/provision-lanes.ts';
import { cutParquet } from '../../../src/cli/ingest/parquet.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import type { Job } from '../../../src/jobs/job.ts';
import { scheduleImport } from '../../../src/operations/import/request.ts';
import { scheduleImportVerification } from '../../../src/operations/import/verify.ts';
import type { Table } from '../../../src/schema/table.ts';
import type { TimePrecision } from '../../../src/schema/timestamp.ts';
import type { Field } from '../../../src/schema/types.ts';
import { at, flush, newDataset, newInstance, query } from '../support.ts';
import { workUntilOver } from './support.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `parquet-doors-${process.pid}` };
const ctx = newInstance(prefix);
const folder = mkdtempSync(join(tmpdir(), 'timestore-doors-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const duckdb = await (await DuckDBInstance.create(':memory:')).connect();

let files = 0;
/** A Parquet file of what DuckDB selects. Its lists, maps and structures may be null, and no statistics tell of it. */
async function written(select: string): Promise<string> {
  files += 1;
  const path = join(folder, `${files}.parquet`);
  await duckdb.run(`COPY (${select}) TO '${path}' (FORMAT parquet)`);
  return path;
}

async function newTable(more: Field[], timestampPrecision: TimePrecision = 9): Promise<Table> {
  const fields: Field[] = [{ name: 'timestamp', type: 'timestamp' }, ...more];
  const table = await createTable(ctx, {
    dataset: newDataset(),
    name: 'm',
    window: 'day',
    lanes: 1,
    schema: { version: 1, timestampColumn: 'timestamp', timestampPrecision, keyFields: [], fields },
  });
  await setUpLanes(ctx, table);
  return table;
}

/** Lines as `timestore ingest` sends them. */
async function linesOf(path: string): Promise<string[]> {
  const lines: string[] = [];
  const uncut = { endAt: () => undefined, nextStart: () => undefined };
  for await (const { body } of cutParquet(path, 'file', { rows: 1_000, bytes: 1_000_000 }, uncut)) {
    lines.push(...body.toString().trimEnd().split('\n'));
  }
  return lines;
}

type Wrong = { row: number; field: string; reason: string; detail?: string };

async function imported(path: string, dataset: string): Promise<{ job: Job; wrong: Wrong[]; key: string }> {
  const key = `imports/parquet-doors-${process.pid}-${files}-${dataset}.parquet`;
  const body = new Uint8Array(readFileSync(path));
  expect((await fetch(await ctx.objects.presignPut(key, 60), { method: 'PUT', body })).status).toBe(200);
  const begun = await scheduleImport(ctx, dataset, 'm', { format: 'parquet', objects: [key] }, undefined);
  const job = await workUntilOver(ctx, begun);
  return { job, wrong: (job.progress.rows as Wrong[] | undefined) ?? [], key };
}

async function rowsIn(dataset: string): Promise<string> {
  await flush(newInstance(prefix), dataset);
  const own = newInstance(prefix);
  const { text } = await query(own, dataset, { orderBy: [{ column: 'timestamp' }], limit: 1_000 });
  return text.slice(text.indexOf('"rows":['), text.lastIndexOf('}],'));
}

async function sent(dataset: string, lines: string[]) {
  return await ingestRows(ctx, {
    dataset,
    table: 'm',
    text: lines.join('\n'),
    format: 'ndjson',
    idempotencyKey: undefined,
  });
}

/** Where each row says, by its second, which value it has. */
const rowsOf = (values: string[], type: string) =>
  `SELECT TIMESTAMPTZ '2026-05-01T10:00:00Z' + to_seconds(i::INT) AS timestamp, v::${type} AS v
     FROM (SELECT unnest([${values.join(', ')}]) AS v, generate_subscripts([${values.join(', ')}], 1) - 1 AS i)`;

/** Whole rows by file: the same by `timestore ingest`, which sends them as a request, and by an import. */
async function expectSame(path: string, fields: Field[], isCompared = false): Promise<string> {
  const [one, other] = [await newTable(fields), await newTable(fields)];
  await sent(one.dataset, await linesOf(path));
  const { job, key } = await imported(path, other.dataset);
  expect([job.state, job.error]).toEqual(['done', null]);
  const rows = await rowsIn(other.dataset);
  if (isCompared) {
    const begun = await scheduleImportVerification(
      ctx,
      other.dataset,
      'm',
      { format: 'parquet', objects: [key] },
      undefined,
    );
    expect((await workUntilOver(ctx, begun)).result).toMatchObject({ equal: true });
  }
  expect(rows).toBe(await rowsIn(one.dataset));
  return rows;
}

/** The same rows refused by both, for the same reason. */
async function expectRefused(path: string, fields: Field[], precision?: TimePrecision): Promise<string[]> {
  const [one, other] = [await newTable(fields, precision), await newTable(fields, precision)];
  const refused = await sent(one.dataset, await linesOf(path)).catch((error) => error);
  const errors = refused.extra?.errors as { index: number; field: string; reason: string }[];
  const { job, wrong } = await imported(path, other.dataset);
  expect(job.state).toBe('failed');
  const found = wrong.map(({ row, field, reason }) => `${row} ${field} ${reason}`);
  expect(found).toEqual(errors.map(({ index, field, reason }) => `${index} ${field} ${reason}`));
  return found;
}

const timestampField: Field[] = [{ name: 'v', type: 'timestamp' }];
const text = (values: string[]) => values.map((value) => `'${value}'`);

const goodTimes = [
  '2026-05-01T10:00:00Z',
  '2026-05-01t10:00:00z',
  '2026-05-01 10:00:00',
  '2026-05-01 10:00:00.5',
  '2026-05-01T10:00:00.123456789Z',
  '2024-02-29T00:00:00+23:59',
  '1969-12-31T23:00:00-01:00',
  '2106-01-01T00:30:00+01:00',
  '2105-12-31T23:59:59.999999999Z',
  '2026-05-01 10:00:00-12:30',
];

const badTimes = [
  '2026-05-01T10:00:00+24:00',
  '2026-05-01T24:00:00Z',
  '2026-12-31T23:59:60Z',
  '1899-12-31T00:00:00Z',
  '1969-12-31T23:59:59.999999999Z',
  '2106-01-01T00:00:00Z',
  '9999-12-31T00:00:00Z',
  '0000-01-01T00:00:00Z',
  '2026-05-01T10:00:00.1234567890Z',
  '2026-05-01T10:00:00',
  '2026-05-01',
  '1777629600000',
  '1777629600',
  '',
  '2026-02-30T00:00:00Z',
  '2026-13-10T00:00:00Z',
  '2026-05-01T10:60:00Z',
  '2026-05-01T10:00Z',
  ' 2026-05-01T10:00:00Z',
  '20260501T100000Z',
  '2026-05-01T10:00:00+0200',
  '2026-05-01T10:00:00Z\n',
  '２026-05-01T10:00:00Z',
  'yesterday',
];

describe('what is a time to a request is one to an import of Parquet', () => {
  test('text', async () => {
    await expectSame(await written(rowsOf(text(goodTimes), 'VARCHAR')), timestampField);
    const nul = "'2026-05-01T10:00:00' || chr(0) || 'Z'";
    const found = await expectRefused(await written(rowsOf([...text(badTimes), nul], 'VARCHAR')), timestampField);
    expect(found.length).toBe(badTimes.length + 1);
    const finer = ['2026-05-01T10:00:00.0001Z', '2026-05-01T10:00:00.123456Z'];
    await expectRefused(await written(rowsOf(text(finer), 'VARCHAR')), timestampField, 3);
    await expectRefused(await written(rowsOf(text(finer), 'TIMESTAMP')), timestampField, 3);
  });

  test('whole numbers', async () => {
    const good = ['0', '99999999', '31536000000', '1777629600123', '4291747199999', 'NULL'];
    await expectSame(await written(rowsOf(good, 'BIGINT')), timestampField);
    // Seconds, microseconds, nanoseconds.
    const bad = [
      '1777629600',
      '100000000',
      '31535999999',
      '1777629600000000',
      '1777629600000000000',
      '-1',
      '4291747200000',
    ];
    const found = await expectRefused(await written(rowsOf(bad, 'BIGINT')), timestampField);
    expect(found.map((line) => line.split(' ')[2])).toEqual([
      'bad-timestamp',
      'bad-timestamp',
      'bad-timestamp',
      'out-of-range',
      'out-of-range',
      'out-of-range',
      'out-of-range',
    ]);
    await expectSame(await written(rowsOf(['1777629600123.0', '0', 'NULL'], 'DOUBLE')), timestampField);
    await expectRefused(await written(rowsOf(['1777629600123.5', '1777629600', '-1'], 'DOUBLE')), timestampField);
  });

  test('days and times before 1970 are refused, and text where the field is', async () => {
    const string: Field[] = [{ name: 'v', type: 'string' }];
    const days = ["DATE '1969-12-31'", "DATE '0001-01-01'", "DATE '9999-12-31'"];
    const { wrong } = await imported(await written(rowsOf(days, 'DATE')), (await newTable(timestampField)).dataset);
    expect(wrong.map(({ row, field }) => [row, field])).toEqual([0, 1, 2].map((row) => [row, 'v']));
    expect(await expectSame(await written(rowsOf([...days, 'NULL'], 'DATE')), string)).toContain('"0001-01-01"');
    const moments = [
      "TIMESTAMP '1960-05-01 10:00:00.123456'",
      "TIMESTAMP '1500-01-01 00:00:00'",
      "TIMESTAMP '9000-01-01'",
    ];
    await expectSame(await written(rowsOf([...moments, 'NULL'], 'TIMESTAMP')), string);
    await expectRefused(await written(rowsOf(moments, 'TIMESTAMP')), timestampField);
  });
});

test('a time of day is text, and no moment of 1970', async () => {
  const path = await written(rowsOf(["TIME '01:02:03.000004'", "TIME '00:00:00'", 'NULL'], 'TIME'));
  const rows = await expectSame(path, [{ name: 'v', type: 'string' }], true);
  expect(rows).toContain('"01:02:03.000004"');
  const { job } = await imported(path, (await newTable(timestampField)).dataset);
  expect(job.error).toMatch(/has values of type .* in v, which is timestamp in table m/);
});

test('text that a request refuses for its field an import refuses', async () => {
  const field = (type: Field['type']): Field[] => [{ name: 'v', type }];
  const path = await written(rowsOf(text(['1x', 'true', '0x1', '{}', '[]', '']), 'VARCHAR'));
  for (const type of ['double', 'boolean', 'integer', 'unsigned', 'string[]', 'map', 'decimal(9,2)'] as const) {
    await expectRefused(path, field(type));
  }
  const whole = await written(rowsOf(text(['9223372036854775807', '-0', '5']), 'VARCHAR'));
  for (const type of ['integer', 'decimal(21,2)'] as const) await expectSame(whole, field(type));
  await expectSame(await written(rowsOf(text(['NaN', 'Infinity', '-Infinity']), 'VARCHAR')), field('double'));
});

describe('what is nested is JSON as a request has it', () => {
  const json: Field[] = [{ name: 'v', type: 'json' }];
  const nested: [string, string[], string][] = [
    ['lists, empty and null', ['[1, NULL]', 'NULL', '[]'], 'BIGINT[]'],
    ['integers beyond 2^53', ['[9223372036854775807]', '[9007199254740993]'], 'BIGINT[]'],
    ['decimals', ['[12345678901234567.89]', '[-0.50]', '[100]'], 'DECIMAL(38,2)[]'],
    ['doubles', ['[0.1, -0.0, 1e21, 1e-7, 5e-324, 123456789012345680000, 9007199254740994]'], 'DOUBLE[]'],
    ['single floats', ['[0.1, 16777217]'], 'FLOAT[]'],
    [
      'structures, null and of nulls',
      ["{'b': 1, 'a': 'x'}", 'NULL', "{'b': NULL, 'a': NULL}"],
      'STRUCT(b INT, a VARCHAR)',
    ],
    ['names that look like places', ["{'10': 1, '2': 3}"], 'STRUCT("10" INT, "2" INT)'],
    ['keys that look like places', ["MAP {'10': 1, '2': 3, '__proto__': 4}", 'NULL', 'MAP {}'], 'MAP(VARCHAR, INT)'],
    ['whole keys', ['MAP {10: true, 2: false}'], 'MAP(INT, BOOLEAN)'],
    ['days', ["[DATE '1960-01-01', DATE '9999-12-31', NULL]"], 'DATE[]'],
    ['times', ["[TIMESTAMP '1960-01-01 00:00:00.5', TIMESTAMP '2026-05-01 10:00:00.123456']"], 'TIMESTAMP[]'],
    ['times of day', ["[TIME '10:00:00', NULL]"], 'TIME[]'],
    ['text', [`['a"b\\c/d', 'é😀', '', NULL]`], 'VARCHAR[]'],
    ['lists in structures', ["{'l': [{'x': 1}]}", "{'l': [{'x': 2}, {'x': 3}]}"], 'STRUCT(l STRUCT(x INT)[])'],
  ];
  test('in many columns', async () => {
    const columns = nested.map(([, values, type], i) => `unnest(${`[${values.join(', ')}]`}::${type}[]) AS v${i}`);
    const path = await written(
      `SELECT TIMESTAMPTZ '2026-05-01T10:00:00Z' + to_seconds((row_number() OVER ())::INT - 1) AS timestamp, * FROM (SELECT ${columns.join(', ')})`,
    );
    const rows = await expectSame(
      path,
      nested.map((_, i) => ({ name: `v${i}`, type: 'json' as const })),
      true,
    );
    expect(rows).toContain('"v0":null');
    expect(rows).toContain('"v0":"[]"');
  });

  test.each([
    ['NaN', ['[1, NULL]', "['nan'::DOUBLE]", "['-inf'::DOUBLE]"], 'DOUBLE[]', [1, 2]],
    ['in a structure', ["{'a': 'inf'::DOUBLE}", "{'a': 1}"], 'STRUCT(a DOUBLE)', [0]],
    // The object does not distinguish them, so both are refused.
    ['null lists in structures', ["{'l': [1]}", "{'l': NULL}", "{'l': []}"], 'STRUCT(l INT[])', [1, 2]],
  ])('%s is refused with its row', async (_, values, type, rows) => {
    const { dataset } = await newTable(json);
    const { job, wrong } = await imported(await written(rowsOf(values, type)), dataset);
    expect([job.state, wrong.map(({ row, field }) => [row, field])]).toEqual(['failed', rows.map((row) => [row, 'v'])]);
    expect(wrong[0]?.detail).toMatch(/NaN|null or empty/);
  });

  test('a variant is sent by `timestore ingest` and refused by an import', async () => {
    const path = await written(rowsOf(["{'b': 0.5, 'a': 1}::VARIANT", "{'b': 1.5, 'a': 2}::VARIANT"], 'VARIANT'));
    const { dataset } = await newTable(json);
    await sent(dataset, await linesOf(path));
    expect(
      (await query(ctx, dataset, { orderBy: [{ column: 'timestamp' }] })).rows.map(({ v }) => JSON.parse(String(v))),
    ).toEqual([
      { a: 1, b: 0.5 },
      { a: 2, b: 1.5 },
    ]);
    const { job } = await imported(path, (await newTable([])).dataset);
    expect([job.state, job.error]).toEqual([
      'failed',
      expect.stringMatching(/type VARIANT in v, which imports do not/),
    ]);
  });

  test('an interval is refused by its column', async () => {
    const path = await written(rowsOf(["INTERVAL '1 month'"], 'INTERVAL'));
    await expect(linesOf(path)).rejects.toThrow(/INTERVAL in v/);
    const { job } = await imported(path, (await newTable(json)).dataset);
    expect(job.error).toMatch(/has values of type INTERVAL in v/);
  });
});

test('a list is null where it was and empty where it was, in tables that an import makes', async () => {
  const path = await written(rowsOf(['[1]', 'NULL', '[]'], 'INT[]'));
  const { dataset } = await newTable([]);
  const { job } = await imported(path, dataset);
  expect(job.state).toBe('done');
  const { rows } = await query(newInstance(prefix), dataset, { orderBy: [{ column: 'timestamp' }] });
  expect(rows).toEqual([
    { timestamp: at(0), v: '[1]' },
    { timestamp: at(1), v: null },
    { timestamp: at(2), v: '[]' },
  ]);
});
