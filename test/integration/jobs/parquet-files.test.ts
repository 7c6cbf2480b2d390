import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { describe, expect, test } from 'vitest';
import { cutParquet } from '../../../src/cli/ingest/parquet.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { scheduleImport } from '../../../src/operations/import/request.ts';
import { readRename } from '../../../src/schema/rename.ts';
import { flush, newDataset, newInstance, query, tableOf } from '../support.ts';
import { workUntilOver } from './support.ts';

/**
 * Files of Parquet that others have published, read as `timestore ingest` does and compared with what DuckDB reads: those
 * of apache/parquet-testing (`data`) and hyparam/hyparquet (`test/files`). TEST_PARQUET_FILES names a folder with them.
 */
const folder = process.env.TEST_PARQUET_FILES;
const paths = folder === undefined ? [] : globSync(join(folder, '**/*.parquet')).sort();

/** Files that are refused, and why. */
const refused: Record<string, RegExp> = {
  // Bytes of no text, which no field holds.
  'binary_truncated_min_max.parquet': /not valid for encoding utf-8/,
  'fixed_length_byte_array.parquet': /flba_field has bytes that are not UTF-8/,
  // Points without coordinates, which GeoJSON writes as NaN.
  'geospatial-with-nan.parquet': /geometry is NaN/,
  'apache/geospatial/geospatial.parquet': /geometry is NaN/,
  // A text of 1 GiB.
  'large_string_map.brotli.parquet': /Cannot create a string longer/,
};

/** Files that only imports refuse, and why. */
const refusedByImports: [RegExp, RegExp][] = [
  // ClickHouse gives their parts, or a form of its own.
  [/\/shredded-[^/]*$/, /type VARIANT in \w+, which imports do not read/],
  [/\/geo[^/]*$/, /type GEO(?:METRY|GRAPHY) in \w+, which imports do not read|ClickHouse’s error 636/],
  // Written without statistics, so that null and empty ones look alike.
  [/\/(?:nested_lists\.snappy|nested_maps\.snappy|nullable\.impala)\.parquet$/, /whether this is null or empty/],
  // ClickHouse looks at checksums, which are wrong in it.
  [/\/rle-dict-uncompressed-corrupt-checksum\.parquet$/, /ClickHouse’s error 117/],
  [/\/duckdb4442\.parquet$/, /names that begin with _ are reserved/],
];

const duckdb = await (await DuckDBInstance.create(':memory:')).connect();

async function linesOf(path: string): Promise<string[]> {
  const lines: string[] = [];
  const uncut = { endAt: () => undefined, nextStart: () => undefined };
  for await (const { body } of cutParquet(path, basename(path), { rows: 100_000, bytes: 8_000_000 }, uncut)) {
    lines.push(...body.toString().trimEnd().split('\n'));
  }
  return lines;
}

/** The same by DuckDB; undefined where it cannot read the file. */
async function duckdbLines(path: string): Promise<string[] | undefined> {
  const from = `FROM read_parquet('${path.replaceAll("'", "''")}')`;
  try {
    const columns = (await duckdb.runAndReadAll(`DESCRIBE SELECT * ${from}`)).getRowObjectsJS();
    const isVariant = ({ column_type }: Record<string, unknown>) => column_type === 'VARIANT';
    const json = columns.filter(isVariant).map(({ column_name }) => `"${column_name}"::JSON AS "${column_name}"`);
    const selected = json.length === 0 ? '*' : `* REPLACE (${json.join(', ')})`;
    const read = await duckdb.runAndReadAll(`SELECT to_json(t)::VARCHAR FROM (SELECT ${selected} ${from}) AS t`);
    return read.getRows().map(([line]) => String(line));
  } catch {
    return undefined;
  }
}

type Digits = { source: string };
const parse = JSON.parse as (text: string, reviver: (_: string, value: unknown, digits: Digits) => unknown) => unknown;

/** A row of either, in one form: members by name, times and shapes the same, no integer rounded. */
function plainRow(line: string): unknown {
  const named = line.replaceAll(/([:[,])(-?)(?:nan|inf(?:inity)?)(?=[,}\]])/gi, (text, before: string, sign: string) =>
    /nan/i.test(text) ? `${before}"NaN"` : `${before}"${sign}Infinity"`,
  );
  return parse(named, (_, value, { source }) => {
    if (typeof value === 'number')
      return Number.isInteger(value) && !/[.eE]/.test(source) ? BigInt(source) : plainNumber(value);
    if (typeof value === 'string') return plainText(value);
    const shape = value as { type?: unknown; coordinates?: unknown; geometries?: unknown } | null;
    if (typeof shape?.type !== 'string' || !('coordinates' in shape || 'geometries' in shape)) return value;
    return numbersIn(JSON.stringify(shape, (__, each) => (typeof each === 'bigint' ? Number(each) : each)));
  });
}

const plainNumber = (value: number) => (Number.isInteger(value) ? BigInt(value) : value);

const shapes =
  /^(?:POINT|LINESTRING|POLYGON|MULTIPOINT|MULTILINESTRING|MULTIPOLYGON|GEOMETRYCOLLECTION)(?: ZM?| M)? [(E]/;
const times = /^\+?0*(\d{4,}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|\+00)?$/;

function plainText(text: string): unknown {
  if (shapes.test(text)) return numbersIn(text);
  // Bytes, as DuckDB has them.
  if (/\\x[0-9A-F]{2}/.test(text))
    return text.replaceAll(/\\x([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  const [, date, clock, digits = ''] = times.exec(text) ?? [];
  return date === undefined ? text : `${date}T${clock}.${digits.replace(/0+$/, '')}`;
}

/** All numbers of a shape in their order, whether it is written as text or as JSON. */
const numbersIn = (text: string) => (text.match(/-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/gi) ?? []).map(Number).join(' ');

const prefix = { TIMESTORE_KEY_PREFIX: `parquet-files-${process.pid}` };
const ctx = newInstance(prefix);

/** A column that can be the time of a table's rows: times, or small numbers, from 1970 on and in every row. */
async function timeColumn(path: string): Promise<string | undefined> {
  const from = `FROM read_parquet('${path.replaceAll("'", "''")}')`;
  const columns = (await duckdb.runAndReadAll(`DESCRIBE SELECT * ${from}`)).getRowObjectsJS();
  for (const { column_name: name, column_type: type } of columns) {
    const isTime = /^TIMESTAMP/.test(String(type));
    if (!isTime && !/^(?:U?(?:TINY|SMALL)INT|U?INTEGER|BIGINT)$/.test(String(type))) continue;
    const [low, high] = isTime ? ["TIMESTAMP '1971-01-01'", "TIMESTAMP '2100-01-01'"] : ['0', '99999999'];
    const checked = await duckdb.runAndReadAll(
      `SELECT bool_and(coalesce("${name}" BETWEEN ${low} AND ${high}, false)) ${from}`,
    );
    if (checked.getRows()[0]?.[0] === true) return String(name);
  }
  return undefined;
}

async function rowsIn(dataset: string): Promise<string> {
  await flush(newInstance(prefix), dataset);
  const own = newInstance(prefix);
  const fields = (await tableOf(own, dataset)).schema.fields;
  const columns = fields.map(({ name }) => name).sort();
  const isSorted = (name: string) =>
    !/^(?:map|string\[\]|vector)/.test(fields.find((each) => each.name === name)?.type ?? '');
  const orderBy = columns.filter(isSorted).map((column) => ({ column }));
  const { text } = await query(own, dataset, { columns, orderBy: orderBy.slice(0, 8), limit: 10_000 });
  return text.slice(text.indexOf('"rows":['), text.lastIndexOf('}],'));
}

/** Imports a file, and sends its rows as they are read here to a table of the same fields. */
async function expectImported(path: string, time: string, lines: string[]): Promise<void> {
  const [sent, brought] = [newDataset(), newDataset()];
  const key = `imports/${brought}.parquet`;
  await fetch(await ctx.objects.presignPut(key, 60), { method: 'PUT', body: new Uint8Array(readFileSync(path)) });
  const names = time === 'timestamp' ? {} : { [time]: 'timestamp' };
  const request = { format: 'parquet' as const, objects: [key], rename: names };
  const job = await workUntilOver(ctx, await scheduleImport(ctx, brought, 'm', request, undefined));
  const reason = refusedByImports.find(([name]) => name.test(path))?.[1];
  if (reason !== undefined) {
    expect([job.state, job.error]).toEqual(['failed', expect.stringMatching(reason)]);
    return;
  }
  expect([job.state, job.error]).toEqual(['done', null]);
  const { fields } = (await tableOf(newInstance(prefix), brought)).schema;
  await ingestRows(ctx, {
    dataset: sent,
    table: 'm',
    text: lines.join('\n'),
    format: 'ndjson',
    idempotencyKey: undefined,
    declared: { fields: fields.filter(({ name }) => name !== 'timestamp'), defaults: [] },
    ...(time !== 'timestamp' && { rename: readRename(JSON.stringify(names)) }),
  });
  expect(await rowsIn(brought)).toBe(await rowsIn(sent));
}

const reasonOf = (path: string) => Object.entries(refused).find(([name]) => path.endsWith(`/${name}`))?.[1];

describe.skipIf(paths.length === 0)('published files of Parquet (TEST_PARQUET_FILES)', () => {
  test.each(paths.map((path) => [path.slice(folder?.length), path]))('%s', async (_, path) => {
    const reason = reasonOf(path);
    if (reason !== undefined) return await expect(linesOf(path)).rejects.toThrow(reason);
    const lines = await linesOf(path);
    const others = await duckdbLines(path);
    if (others === undefined) return;
    // The last time of this one has more nanoseconds than DuckDB's own have room for.
    const compared = path.endsWith('/int96_from_spark.parquet') ? 5 : others.length;
    expect(lines.length).toBe(others.length);
    expect(lines.slice(0, compared).map(plainRow)).toEqual(others.slice(0, compared).map(plainRow));
    const time = lines.length === 0 || lines.length > 10_000 ? undefined : await timeColumn(path);
    if (time !== undefined) await expectImported(path, time, lines);
  });
});
