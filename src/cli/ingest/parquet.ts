import type { ParquetParsers } from 'hyparquet';
import { rowText } from '../../client/write.ts';
import { CliFailure } from '../failure.ts';
import { type Batch, type Cuts, hashOf, type Limits } from './cut.ts';
import { decimalJson, withUnits } from './decimals.ts';
import { type Converter, convertersOf, withEntries } from './parquet-values.ts';

const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** As the API takes them: exact, or not at all. */
const parsers: Partial<ParquetParsers> = {
  stringFromBytes: (bytes) => bytes && text.decode(bytes),
  jsonFromBytes: (bytes) => bytes && rawJson(text.decode(bytes)),
  timestampFromMicroseconds: (micros) => timeOf(micros, 3),
  timestampFromNanoseconds: (nanos) => timeOf(nanos, 6),
  dateFromDays: (days) => new Date(days * 86_400_000).toISOString().slice(0, 10),
};

/** A time with all its digits: so many of them are finer than a millisecond. */
function timeOf(units: bigint, digits: number): string {
  const perMillisecond = 10n ** BigInt(digits);
  const finer = ((units % perMillisecond) + perMillisecond) % perMillisecond;
  const text = new Date(Number((units - finer) / perMillisecond)).toISOString();
  return finer === 0n ? text : `${text.slice(0, -1)}${String(finer).padStart(digits, '0')}Z`;
}

const lostName = '__proto__';

const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON;

/**
 * Rows of a Parquet file as NDJSON, a row group in memory at a time.
 *
 * @throws CliFailure for a file that is none, or that has values which JSON has not
 */
export async function* cutParquet(path: string, name: string, limits: Limits, cuts: Cuts): AsyncGenerator<Batch> {
  const { asyncBufferFromFile, parquetMetadataAsync, parquetRead } = await import('hyparquet');
  const { compressors } = await import('hyparquet-compressors');
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file).catch((error: Error) => {
    throw new CliFailure(`${name} is no Parquet file, or not whole: ${error.message}.`);
  });
  // Objects of JavaScript, which is what the reader makes of structs and maps, lose this name.
  if (metadata.schema.some((element) => element.name === lostName)) {
    throw new CliFailure(`${name} has a column or a member ${lostName}, which is no name of a field. Give it another.`);
  }
  const converters = convertersOf(metadata.schema);
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
        ...{ file, metadata, compressors, rowStart: groupStart, rowEnd },
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
      const row: Record<string, unknown> = {};
      for (const { column, at, scale, convert } of readers) {
        row[column] =
          scale === undefined
            ? converted(() => convert(at(n)), `${name}, row ${n + 1}: ${column}`)
            : decimalJson(at(n), scale);
      }
      const line = rowText(row);
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
      ...{ start, end, line: start + 1, body, namesBytes: 0, type: 'application/x-ndjson', hash: hashOf(body) },
    };
    open = [];
    openBytes = 0;
    start = end;
    return batch;
  }
}

/** Throws CliFailure for what JSON has not. */
function converted(convert: () => unknown, where: string): unknown {
  try {
    return convert();
  } catch (error) {
    if (error instanceof RangeError) throw new CliFailure(`${where} ${error.message}.`);
    throw error;
  }
}

type Piece = { from: number; values: ArrayLike<unknown> };

/** Rows are asked for in their order. */
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
