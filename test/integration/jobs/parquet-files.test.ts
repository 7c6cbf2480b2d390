import { globSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { describe, expect, test } from 'vitest';
import { cutParquet } from '../../../src/cli/ingest/parquet.ts';

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
  'fixed_length_byte_array.parquet': /flba_field has bytes that are no text/,
  // Points without coordinates, which GeoJSON writes as NaN.
  'geospatial-with-nan.parquet': /geometry is NaN/,
  'apache/geospatial/geospatial.parquet': /geometry is NaN/,
  // A text of 1 GiB.
  'large_string_map.brotli.parquet': /Cannot create a string longer/,
};

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
  });
});
