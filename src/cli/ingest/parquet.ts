import type { ParquetParsers } from 'hyparquet';
import { CliFailure } from '../failure.ts';
import { type Batch, type Cuts, hashBody, type Limits } from './cut.ts';
import { decimalJson, withUnits } from './decimals.ts';
import { allowEmptyPages, withWholeColumns } from './parquet-odd.ts';
import { columnProblem, dayColumns, withConvertedTypes } from './parquet-schema.ts';
import { type Converter, columnConverters, valueText, withEntries } from './parquet-values.ts';

const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Parsers that return exact values in the form of the API. */
const parsers: Partial<ParquetParsers> = {
  stringFromBytes: (bytes) => bytes && text.decode(bytes),
  jsonFromBytes: (bytes) => bytes && rawJson(text.decode(bytes)),
  timestampFromMicroseconds: (micros) => formatTime(micros, 3),
  timestampFromNanoseconds: (nanos) => formatTime(nanos, 6),
  dateFromDays: (days) => new Date(days * 86_400_000).toISOString().split('T')[0],
};

/** A time with all its digits, of which `digits` are below a millisecond. */
function formatTime(units: bigint, digits: number): string {
  const perMillisecond = 10n ** BigInt(digits);
  const finer = ((units % perMillisecond) + perMillisecond) % perMillisecond;
  const text = new Date(Number((units - finer) / perMillisecond)).toISOString();
  return finer === 0n ? text : `${text.slice(0, -1)}${String(finer).padStart(digits, '0')}Z`;
}

const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON;

/**
 * Rows of a Parquet file as NDJSON, with one row group in memory.
 *
 * @param readTimeFields called where a column has dates, which a timestamp field takes only with a time of day
 * @throws CliFailure for an invalid file, and for values that JSON cannot represent
 */
export async function* cutParquet(
  path: string,
  name: string,
  limits: Limits,
  cuts: Cuts,
  readTimeFields: () => Promise<ReadonlySet<string>> = async () => new Set(['timestamp']),
): AsyncGenerator<Batch> {
  const { asyncBufferFromFile, parquetMetadataAsync, parquetRead } = await import('hyparquet');
  const compressors = allowEmptyPages((await import('hyparquet-compressors')).compressors);
  const file = await asyncBufferFromFile(path);
  const read = await parquetMetadataAsync(file).catch((error: Error) => {
    throw new CliFailure(`${name} is not a Parquet file, or is incomplete: ${error.message}.`);
  });
  const metadata = withWholeColumns(read, file.byteLength);
  const problem = columnProblem(metadata.schema);
  if (problem !== undefined) throw new CliFailure(`${name} has ${problem}.`);
  metadata.schema = withConvertedTypes(metadata.schema);
  const converters = columnConverters(metadata.schema);
  const days = dayColumns(metadata.schema);
  if (days.length > 0) {
    const times = await readTimeFields();
    for (const day of days.filter((each) => times.has(each))) {
      converters.set(day, (value) => (typeof value === 'string' ? `${value}T00:00:00Z` : value));
    }
  }
  const units = withUnits(metadata.schema);
  metadata.schema = withEntries(units.schema);
  let groupStart = 0;
  let open: string[] = [];
  let openBytes = 0;
  let start = 0;
  for (const { num_rows } of metadata.row_groups) {
    const rowEnd = groupStart + Number(num_rows);
    const columns = new Map<string, Piece[]>();
    try {
      await parquetRead({
        file,
        metadata,
        compressors,
        rowStart: groupStart,
        rowEnd,
        parsers: { ...parsers, ...units.parsers },
        onChunk: ({ columnName, columnData, rowStart }) => {
          const pieces = columns.get(columnName) ?? [];
          pieces.push({ from: rowStart, values: columnData });
          columns.set(columnName, pieces);
        },
      });
    } catch (error) {
      throw new CliFailure(`${name}, rows ${groupStart + 1} to ${rowEnd}: ${(error as Error).message}.`);
    }
    const readers = [...columns].map(([column, pieces]) => {
      const convert: Converter = converters.get(column) ?? ((value) => value);
      return { column, at: reader(pieces), scale: units.decimals.get(column), convert };
    });
    for (let n = groupStart; n < rowEnd; n += 1) {
      const members = readers.map(({ column, at, scale, convert }) => {
        const value = at(n);
        const made = () => valueText((scale === undefined ? convert(value) : decimalJson(value, scale)) ?? null);
        return `${JSON.stringify(column)}:${converted(made, `${name}, row ${n + 1}: ${column}`)}`;
      });
      const line = `{${members.join(',')}}`;
      open.push(line);
      openBytes += Buffer.byteLength(line) + 1;
      const until = cuts.endAt(start);
      const isFull = open.length >= limits.rows || openBytes >= limits.bytes || n + 1 === cuts.nextStart(start);
      if (until === undefined ? isFull : n + 1 >= until) yield take(n + 1);
    }
    groupStart = rowEnd;
  }
  if (open.length > 0) yield take(groupStart);

  function take(end: number): Batch {
    const body = Buffer.from(`${open.join('\n')}\n`);
    const batch: Batch = {
      start,
      end,
      line: start + 1,
      body,
      namesBytes: 0,
      type: 'application/x-ndjson',
      hash: hashBody(body),
    };
    open = [];
    openBytes = 0;
    start = end;
    return batch;
  }
}

/** Throws CliFailure for values that JSON cannot represent. */
function converted(convert: () => string, where: string): string {
  try {
    return convert();
  } catch (error) {
    if (error instanceof RangeError) throw new CliFailure(`${where} ${error.message}.`);
    throw error;
  }
}

type Piece = { from: number; values: ArrayLike<unknown> };

/** Requested in ascending order. */
function reader(pieces: Piece[]): (row: number) => unknown {
  pieces.sort((a, b) => a.from - b.from);
  let i = 0;
  return (row) => {
    for (;;) {
      const piece = pieces[i];
      if (piece === undefined) return undefined;
      if (row < piece.from + piece.values.length) return piece.values[row - piece.from];
      i += 1;
    }
  };
}
