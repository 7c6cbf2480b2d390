import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import type { FileMetaData } from 'hyparquet';
import { afterAll, expect, test } from 'vitest';
import { cutParquet } from '../../src/cli/ingest/parquet.ts';
import { allowEmptyPages, withWholeColumns } from '../../src/cli/ingest/parquet-odd.ts';
import { newInstance } from '../integration/support.ts';

const ctx = newInstance();
const folder = mkdtempSync(join(tmpdir(), 'timestore-parquet-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Rows as they are sent, of a file that ClickHouse wrote. */
async function rowsOf(sql: string, settings: Record<string, string | number> = {}): Promise<unknown[]> {
  const { body } = await ctx.clickhouse.open({
    settings,
    body: `${sql} FORMAT Parquet`,
    timeout_ms: 10_000,
    signal: new AbortController().signal,
  });
  const path = join(folder, `${Math.random()}.parquet`);
  writeFileSync(path, new Uint8Array(await new Response(body as ReadableStream).arrayBuffer()));
  const rows: unknown[] = [];
  const uncut = { endAt: () => undefined, nextStart: () => undefined };
  let end = 0;
  for await (const batch of cutParquet(path, 'file', { rows: 7, bytes: 10_000 }, uncut)) {
    expect(batch.start).toBe(end);
    end = batch.end;
    rows.push(
      ...batch.body
        .toString()
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    );
  }
  expect(end).toBe(rows.length);
  return rows;
}

test('values are what they were: decimals, times, dates, nested ones, none', async () => {
  const [row] = await rowsOf(`SELECT toDecimal64('0.57', 2) AS price, toDecimal128('12345.678901', 6) AS long,
    toDateTime64('2026-05-01 10:00:00.123456', 6, 'UTC') AS at, toDate('2026-05-01') AS day, CAST(NULL AS Nullable(String)) AS none,
    tuple(1, 'a')::Tuple(n UInt8, s String) AS pair, ['x', 'y'] AS list, map('k', 1) AS keyed, 'é' AS text, 1.5 AS v, true AS ok`);
  expect(row).toEqual({
    price: 0.57,
    long: 12345.678901,
    at: '2026-05-01T10:00:00.123456Z',
    day: '2026-05-01',
    none: null,
    pair: { n: 1, s: 'a' },
    list: ['x', 'y'],
    keyed: { k: 1 },
    text: 'é',
    v: 1.5,
    ok: true,
  });
});

test('integers beyond 2^53 are exact', async () => {
  const path = join(folder, 'big.parquet');
  const { body } = await ctx.clickhouse.open({
    settings: {},
    body: 'SELECT 9223372036854775807::Int64 AS big FORMAT Parquet',
    timeout_ms: 10_000,
    signal: new AbortController().signal,
  });
  writeFileSync(path, new Uint8Array(await new Response(body as ReadableStream).arrayBuffer()));
  for await (const batch of cutParquet(
    path,
    'file',
    { rows: 1, bytes: 1 },
    { endAt: () => undefined, nextStart: () => undefined },
  )) {
    expect(batch.body.toString()).toBe('{"big":9223372036854775807}\n');
  }
});

test('every way of packing, several row groups and pages', async () => {
  for (const output_format_parquet_compression_method of ['none', 'snappy', 'gzip', 'zstd', 'lz4', 'brotli']) {
    const rows = await rowsOf(
      "SELECT number AS n, if(number % 3 = 0, NULL, concat('s', toString(number % 5))) AS s FROM numbers(100)",
      {
        output_format_parquet_compression_method,
        output_format_parquet_row_group_size: 30,
        output_format_parquet_data_page_size: 64,
        max_block_size: 10,
      },
    );
    const expected = Array.from({ length: 100 }, (_, n) => ({ n, s: n % 3 === 0 ? null : `s${n % 5}` }));
    expect(rows, output_format_parquet_compression_method).toEqual(expected);
  }
});

test('numbers that JSON has not are sent by their names', async () => {
  const rows = await rowsOf('SELECT arrayJoin([nan, inf, -inf, -0., 1]) AS v');
  expect(rows).toEqual([{ v: 'NaN' }, { v: 'Infinity' }, { v: '-Infinity' }, { v: -0 }, { v: 1 }]);
});

test('text that is none is refused', async () => {
  await expect(rowsOf("SELECT unhex('ff00') AS b")).rejects.toThrow(/file, rows 1 to 1: /);
});

test('a name that objects of JavaScript lose is refused for a column or member, and all others are kept', async () => {
  const refused = /has a column or a member with the invalid name __proto__/;
  await expect(rowsOf('SELECT 1 AS `__proto__`, 2 AS v')).rejects.toThrow(refused);
  await expect(rowsOf('SELECT tuple(1, 2)::Tuple(`__proto__` UInt8, n UInt8) AS pair')).rejects.toThrow(refused);
  expect(JSON.stringify(await rowsOf("SELECT map('__proto__', 1, 'k', 2) AS keyed"))).toBe(
    '[{"keyed":{"__proto__":1,"k":2}}]',
  );
  expect(await rowsOf("SELECT '__proto__' AS s")).toEqual([{ s: '__proto__' }]);
  const [row] = await rowsOf("SELECT 1 AS constructor, map('toString', 1, 'valueOf', 2) AS keyed, 3 AS hasOwnProperty");
  expect(row).toEqual({ constructor: 1, keyed: { toString: 1, valueOf: 2 }, hasOwnProperty: 3 });
});

test('variants are what they hold, and none where they are null', async () => {
  const duckdb = await (await DuckDBInstance.create(':memory:')).connect();
  const path = join(folder, 'variants.parquet');
  const values = [
    "{'a': 1, 'b': [1.5, NULL], 'c': 'x'}",
    "{'a': 2, 'b': NULL, 'c': 'y'}",
    '12',
    "'text'",
    'true',
    'NULL',
  ];
  await duckdb.run(
    `COPY (${values.map((value) => `SELECT ${value}::VARIANT AS v`).join(' UNION ALL ')}) TO '${path}' (FORMAT parquet)`,
  );
  const uncut = { endAt: () => undefined, nextStart: () => undefined };
  let text = '';
  for await (const { body } of cutParquet(path, 'file', { rows: 100, bytes: 1e6 }, uncut)) text += body;
  const rows = text
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { v: unknown }).v);
  expect(rows).toEqual([{ a: 1, b: [1.5, null], c: 'x' }, { a: 2, b: null, c: 'y' }, 12, 'text', true, null]);
  await duckdb.run(`COPY (SELECT {'a': 12345678901234567.89}::VARIANT AS v) TO '${path}' (FORMAT parquet)`);
  await expect(cutParquet(path, 'file', { rows: 1, bytes: 1 }, uncut).next()).rejects.toThrow(/more than 15 digits/);
});

test('a page of nothing is unpacked as nothing, and others as they are', () => {
  const unpack = allowEmptyPages({
    SNAPPY: (_, bytes) => {
      if (bytes === 0) throw new Error('no length');
      return new Uint8Array(bytes);
    },
  });
  expect(unpack.SNAPPY?.(new Uint8Array(), 0)).toHaveLength(0);
  expect(unpack.SNAPPY?.(new Uint8Array(), 3)).toHaveLength(3);
});

test.each([
  ['parquet-mr', 15n],
  ['parquet-mr version 1.2.8 (build x)', 15n],
  ['parquet-mr version 1.2.9', 0n],
  ['parquet-mr version 1.12.3 (build x)', 0n],
  ['parquet-cpp-arrow version 21.0.0', 0n],
])('columns of %s end where the next one begins, by %i bytes more', (created_by, more) => {
  const column = (start: bigint, bytes: bigint) => ({
    file_offset: start,
    file_path: undefined,
    meta_data: { data_page_offset: start, total_compressed_size: bytes },
  });
  const row_groups = [{ columns: [column(4n, 125n), column(129n, 322n), column(466n, 125n)] }];
  const metadata = { created_by, metadata_length: 401, row_groups } as unknown as FileMetaData;
  const columns = withWholeColumns(metadata, 1_000).row_groups[0]?.columns;
  expect(columns?.map(({ meta_data }) => meta_data?.total_compressed_size)).toEqual([125n, 322n + more, 125n]);
});

test('nested values are what they were, or refused by row and column', async () => {
  await expect(rowsOf('SELECT [1, nan] AS l')).rejects.toThrow(/file, row 1: l is NaN/);
  await expect(rowsOf('SELECT tuple(1, -inf)::Tuple(a UInt8, b Float64) AS t')).rejects.toThrow(
    /file, row 1: t is -Infinity/,
  );
  await expect(rowsOf("SELECT map('k', inf) AS m")).rejects.toThrow(/file, row 1: m is Infinity/);
  await expect(rowsOf("SELECT CAST([('k', 1), ('k', 2)], 'Map(String, UInt8)') AS m")).rejects.toThrow(
    /file, row 1: m has a map with the key k twice/,
  );
  const settings = {
    output_format_parquet_string_as_string: 1,
    output_format_parquet_fixed_string_as_fixed_byte_array: 1,
  };
  const [row] = await rowsOf(
    `SELECT toFixedString('abcd', 4) AS f, [toFixedString('ab', 2)] AS l, []::Array(UInt8) AS none, map('a', [map('b', 1)]) AS m,
       [[1], []]::Array(Array(UInt8)) AS deep, map()::Map(String, UInt8) AS empty, [tuple(1, [2])::Tuple(x UInt8, y Array(UInt8))] AS t`,
    settings,
  );
  expect(row).toEqual({
    f: 'abcd',
    l: ['ab'],
    none: [],
    m: { a: [{ b: 1 }] },
    deep: [[1], []],
    empty: {},
    t: [{ x: 1, y: [2] }],
  });
});
