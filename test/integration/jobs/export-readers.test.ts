import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { objectFunction } from '../../../src/catalog/object-table.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { type ExportFormat, exportFormats } from '../../../src/operations/export/day.ts';
import { scheduleExport } from '../../../src/operations/export/export.ts';
import { readExport } from '../../../src/operations/export/published.ts';
import { clickhouseType, type Field } from '../../../src/schema/types.ts';
import { at, flush, newInstance, newTable } from '../support.ts';
import { workUntilOver } from './support.ts';

const ctx = newInstance({ TIMESTORE_KEY_PREFIX: `readers-${process.pid}` });
const folder = mkdtempSync(join(tmpdir(), 'timestore-readers-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The same values as text and numbers that compare exactly: milliseconds, and the bits of floats. */
type Exact = {
  n: number;
  timestamp_ms: number;
  s: string | null;
  d: string | null;
  i: string | null;
  ok: boolean | null;
  j: string | null;
  l: string[];
  v: number[];
};

/** As a reader in JavaScript has it. */
type Value = Omit<Exact, 'timestamp_ms' | 'd' | 'i' | 'v'> & {
  timestamp: Date;
  d: number | null;
  i: bigint | null;
  v: number[];
};

const fields: Field[] = [
  { name: 'n', type: 'integer' },
  { name: 's', type: 'string' },
  { name: 'd', type: 'double' },
  { name: 'i', type: 'integer' },
  { name: 'ok', type: 'boolean' },
  { name: 'j', type: 'json' },
  { name: 'l', type: 'string[]' },
  { name: 'v', type: 'vector(4)' },
];

const strings = [
  null,
  '',
  ' ',
  'plain',
  '"',
  `'`,
  '""',
  `a,"b"`,
  'a\nb',
  'a\r\nb',
  '\n',
  '\r',
  '\t',
  '\\',
  '\\N',
  '\\n',
  '\\"',
  'NULL',
  'null',
  'nan',
  'true',
  '1',
  '-0',
  '0.10',
  '[]',
  '{}',
  ',',
  ';',
  ' padded ',
  'é',
  'e\u0301',
  '日本',
  '😀',
  '👩‍👩‍👧',
  '\u0000',
  '\u0001',
  '\u007f',
  '\u2028',
  '\ufeff',
  'x'.repeat(70_000),
  '/',
  '</script>',
];
const doubles = [
  0.1,
  -0,
  0,
  5e-324,
  -5e-324,
  1.7976931348623157e308,
  -1.7976931348623157e308,
  null,
  2.2250738585072014e-308,
  2.225073858507201e-308,
  1 / 3,
  -2 / 3,
  1e21,
  1e22,
  1e23,
  123456789012345680000,
  9007199254740992,
  0.30000000000000004,
  4.35,
  1e-7,
  1.5e-5,
  8.41e21,
  9.5e-322,
  2 ** 63,
  -(2 ** 63),
  4.4501477170144023e-308,
  6.02214076e23,
];
const integers = [-(2n ** 63n), 2n ** 63n - 1n, null, 0n, -1n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 10n ** 18n];
const booleans = [true, false, null];
const jsons = [null, { x: [1, 'é\n"\\'], y: null }, [], {}, ['😀', { a: [[]] }], [0.1, 1e300, true]];
const lists = [
  [],
  [''],
  ['a', 'b'],
  [`'q'`, '"', '\\', ','],
  ['\n', '\r\n', '\t', '\u0000'],
  ['😀', 'é', 'NULL', '[]'],
];
const vectors = [
  [0, 1, -1, 0.5],
  [0.1, 1 / 3, -2 / 3, 3.4028234663852886e38],
  [1.401298464324817e-45, 1.1754943508222875e-38, 1.1754942106924411e-38, -3.4028234663852886e38],
  [16777217, 16777219, 1e22, 1.2345679e-7],
];

const schema = { timestampColumn: 'timestamp', keyFields: [] };

/** Doubles of all sizes: the bits of multiples of a large odd number. */
function* scattered(count: number): Generator<number> {
  const view = new DataView(new ArrayBuffer(8));
  for (let n = 1n; count > 0; n += 1n) {
    view.setBigUint64(0, BigInt.asUintN(64, n * 0x9e3779b97f4a7c15n));
    const double = view.getFloat64(0);
    if (!Number.isFinite(double)) continue;
    count -= 1;
    yield double;
  }
}

/** Every value of every type, and then each double with others beside it. */
const values: Value[] = [...doubles, ...scattered(300)].map((d, n) => ({
  n,
  timestamp: new Date(Date.parse(at(n % 60, 1 + (n % 3))) + n),
  s: strings[n % strings.length] ?? null,
  d,
  i: integers[n % integers.length] ?? null,
  ok: booleans[n % booleans.length] ?? null,
  j: n % jsons.length === 0 ? null : JSON.stringify(jsons[n % jsons.length]),
  l: lists[n % lists.length] ?? [],
  v: (vectors[n % vectors.length] ?? []).map((each) => Math.fround(each)),
}));

const bits = new DataView(new ArrayBuffer(8));
function bitsOf(double: number): string {
  bits.setFloat64(0, double);
  return String(bits.getBigUint64(0));
}
function singleBitsOf(single: number): number {
  // A number that no single-precision float is would lose what shows that.
  expect(Math.fround(single)).toBe(single);
  bits.setFloat32(0, single);
  return bits.getUint32(0);
}

const exact = ({ n, timestamp, s, d, i, ok, j, l, v }: Value): Exact => ({
  n: Number(n),
  timestamp_ms: timestamp.getTime(),
  s,
  ok,
  j,
  l,
  d: d === null ? null : bitsOf(d),
  i: i === null ? null : String(i),
  v: v.map(singleBitsOf),
});

/** As rows are sent; `JSON.stringify` would leave out the sign of a zero. */
function lineOf({ j, i, d, ...row }: Value): string {
  const double = Object.is(d, -0) ? '-0' : JSON.stringify(d);
  return `${JSON.stringify({ ...row, i: i === null ? null : String(i) }).slice(0, -1)},"d":${double},"j":${j}}`;
}

const structure = [{ name: 'timestamp', type: 'timestamp' as const }, ...fields]
  .map((field) => `${field.name} ${clickhouseType(field, schema)}`)
  .join(', ');
const asText = structure.replaceAll(/Array\(\w+\)/g, 'String');
const listsOfText = `JSONExtract(l, 'Array(String)') AS l, CAST(v, 'Array(Float32)') AS v`;

async function inClickHouse(from: string, columns = ''): Promise<Exact[]> {
  return await ctx.clickhouse.rows<Exact>(
    `SELECT toUInt32(n) AS n, toFloat64(toUnixTimestamp64Milli(timestamp)) AS timestamp_ms, s,
            toString(reinterpretAsUInt64(d)) AS d, toString(i) AS i, ok, j, l, arrayMap(x -> reinterpretAsUInt32(x), v) AS v
       FROM ${from} ORDER BY n`,
    { _columns: columns },
    { precise_float_parsing: 1, date_time_input_format: 'best_effort', format_csv_null_representation: '' },
  );
}

async function inObject(key: string, format: ExportFormat): Promise<Exact[]> {
  const object = objectFunction(ctx, key, exportFormats[format].clickhouse);
  if (format !== 'csv') return await inClickHouse(object, structure);
  return await inClickHouse(`(SELECT * REPLACE (${listsOfText}) FROM ${object})`, asText);
}

let duckdb: DuckDBConnection;
beforeAll(async () => {
  const instance = await DuckDBInstance.create(':memory:', { autoinstall_known_extensions: 'false', threads: '1' });
  duckdb = await instance.connect();
});

async function inDuckDb(files: string, format: ExportFormat): Promise<Exact[]> {
  const scalars = `timestamp: 'TIMESTAMPTZ', n: 'BIGINT', s: 'VARCHAR', d: 'DOUBLE', i: 'BIGINT', ok: 'BOOLEAN', j: 'VARCHAR'`;
  const from = {
    parquet: `read_parquet('${files}')`,
    csv: `(SELECT * REPLACE (l::JSON::VARCHAR[] AS l, v::FLOAT[] AS v)
             FROM read_csv('${files}', auto_detect = false, header = true, delim = ',', quote = '"', escape = '"', nullstr = '',
                           allow_quoted_nulls = false, columns = {${scalars}, l: 'VARCHAR', v: 'VARCHAR'}))`,
    ndjson: `read_json('${files}', format = 'newline_delimited', columns = {${scalars}, l: 'VARCHAR[]', v: 'FLOAT[]'})`,
  }[format];
  // DuckDB has a text that begins with a byte order mark; its client would drop that.
  const text = `SELECT * REPLACE (hex(encode(s)) AS s) FROM ${from} ORDER BY n`;
  const rows = (await duckdb.runAndReadAll(text)).getRowObjectsJS() as Value[];
  return rows.map((row) => exact({ ...row, s: row.s === null ? null : Buffer.from(row.s, 'hex').toString() }));
}

/** A table with all of the values, and an export of it. */
async function exported(format: ExportFormat) {
  const table = await newTable(ctx, 1, fields);
  const text = values.map(lineOf).join('\n');
  const { dataset } = table;
  await ingestRows(ctx, { dataset, table: 'm', text, format: 'ndjson', idempotencyKey: undefined });
  const job = await scheduleExport(ctx, dataset, 'm', { format }, undefined);
  expect((await workUntilOver(ctx, job)).state).toBe('done');
  const { rows, objects } = await readExport(ctx, job.id);
  expect([rows, objects.length]).toEqual([values.length, 3]);
  return { table, objects };
}

const download = async (key: string) => await fetch(await ctx.objects.presign(key, 60));

test.each(['parquet', 'csv', 'ndjson'] as const)(
  'an export as %s is read by ClickHouse and by DuckDB as the rows that were sent, bit for bit',
  async (format) => {
    const { table, objects } = await exported(format);
    const read: Exact[] = [];
    for (const { key, day } of objects) {
      read.push(...(await inObject(key, format)));
      const content = await (await download(key)).arrayBuffer();
      writeFileSync(join(folder, `${day}.${format}`), new Uint8Array(content));
    }
    const sent = values.map(exact);
    expect(await inClickHouse(qualifiedName(table))).toEqual(sent);
    expect(read.sort((a, b) => a.n - b.n)).toEqual(sent);
    // ClickHouse writes -0 as JSON has it, `-0`; DuckDB takes that for an integer, which has no sign.
    const unsigned = (d: string | null) => (format === 'ndjson' && d === bitsOf(-0) ? bitsOf(0) : d);
    const found = await inDuckDb(join(folder, `*.${format}`), format);
    expect(found).toEqual(sent.map((row) => ({ ...row, d: unsigned(row.d) })));
  },
);

test('an export as CSV can be sent again as it is', async () => {
  const { table, objects } = await exported('csv');
  const copy = await newTable(ctx, 1, fields);
  for (const { key } of objects) {
    const text = await (await download(key)).text();
    await ingestRows(ctx, { dataset: copy.dataset, table: 'm', text, format: 'csv', idempotencyKey: undefined });
  }
  await flush(ctx, copy.dataset);
  expect(await inClickHouse(qualifiedName(copy))).toEqual(await inClickHouse(qualifiedName(table)));
});
