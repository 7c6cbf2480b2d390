import { createHash } from 'node:crypto';
import { CliFailure } from '../failure.ts';
import { LineEnds } from './line-ends.ts';

/** Rows of a file that are sent in one request. */
export type Batch = {
  /** Position: bytes of the decompressed file, rows of Parquet; `end` is excluded. */
  start: number;
  end: number;
  /** The bytes of the file, in CSV after its header line; Parquet as NDJSON. */
  body: Buffer<ArrayBuffer>;
  /** Length of the header line. */
  namesBytes: number;
  type: 'application/x-ndjson' | 'text/csv';
  /** SHA-256 of the body, hex. */
  hash: string;
  /** Line of the first row, for Parquet its row number; both start at 1. */
  line: number;
};

export type Limits = { bytes: number; rows: number };

/**
 * The boundaries of batches that were sent before. They are kept, because a file that has grown would otherwise be split
 * differently at its former end.
 */
export type Cuts = {
  /** The end of the batch that starts at `start`, if it was sent. */
  endAt(start: number): number | undefined;
  /** The start of the next sent batch after `start`. */
  nextStart(start: number): number | undefined;
};

export function hashBody(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex');
}

const newline = 10;
const quote = 34;
const bom = Buffer.from([0xef, 0xbb, 0xbf]);
/** A row of the API has 1 MiB at most. */
const row_bytes_max = 4 * 1024 * 1024;

/**
 * Splits text into batches of whole rows. A CSV row may have line breaks in quotes.
 *
 * @throws CliFailure for a row without an end
 */
export async function* cutText(
  chunks: AsyncIterable<Buffer>,
  format: 'ndjson' | 'csv',
  name: string,
  limits: Limits,
  cuts: Cuts,
): AsyncGenerator<Batch> {
  /** Bytes that are not sent yet, from byte `start` and line `line` of the file. */
  let held: Buffer = Buffer.alloc(0);
  let start = 0;
  let line = 1;
  /** Within `held`: bytes scanned, start of the current row, and rows and lines before it. */
  let seen = 0;
  let row = 0;
  let rows = 0;
  let lines = 0;
  let isQuoted = false;
  let names: Buffer | undefined = format === 'csv' ? undefined : Buffer.alloc(0);
  let until = cuts.endAt(start);
  let before = cuts.nextStart(start);

  const take = (): Batch | undefined => {
    const bytes = held.subarray(0, row);
    const begun = { start, end: start + row, line };
    const isEmpty = rows === 0;
    held = held.subarray(row);
    start += row;
    line += lines;
    seen -= row;
    row = 0;
    rows = 0;
    lines = 0;
    until = cuts.endAt(start);
    before = cuts.nextStart(start);
    if (isEmpty) return undefined;
    // The last line may have no line break yet.
    const whole = bytes.at(-1) === newline ? bytes : Buffer.concat([bytes, Buffer.from('\n')]);
    if (names === undefined) {
      names = Buffer.from(whole);
      return undefined;
    }
    const body = Buffer.concat([names, whole]);
    const namesBytes = names.length;
    return {
      ...begun,
      body,
      namesBytes,
      type: format === 'csv' ? 'text/csv' : 'application/x-ndjson',
      hash: hashBody(body),
    };
  };
  const endRow = (): Batch | undefined => {
    if (!isBlank(held, row, seen)) rows += 1;
    row = seen;
    const end = start + row;
    const isFull = rows >= limits.rows || row >= limits.bytes;
    const isEnd = names === undefined ? rows > 0 : until === undefined ? isFull || end === before : end >= until;
    return isEnd ? take() : undefined;
  };

  for await (const chunk of chunks) {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    if (start === 0 && held.subarray(0, bom.length).equals(bom)) {
      held = held.subarray(bom.length);
      start = bom.length;
    }
    const ends = new LineEnds(held, format === 'csv');
    for (let at = ends.next(seen); at >= 0; at = ends.next(seen)) {
      if (format === 'csv' && hasOddQuotes(held, seen, at)) isQuoted = !isQuoted;
      seen = at + 1;
      lines += 1;
      const batch = isQuoted ? undefined : endRow();
      if (held !== ends.bytes) ends.moveTo(held);
      if (batch !== undefined) yield batch;
    }
    if (held.length - row > row_bytes_max) {
      const why = isQuoted ? 'a quote is not closed' : 'the line does not end';
      throw new CliFailure(
        `${name}, line ${line + lines}: a row of more than ${row_bytes_max / 1024 / 1024} MiB, since ${why}.`,
      );
    }
  }
  if (held.length > row) {
    seen = held.length;
    const batch = endRow();
    if (batch !== undefined) yield batch;
  }
  const last = held.length > 0 ? take() : undefined;
  if (last !== undefined) yield last;
}

/** Whether the number of quotes is odd. */
function hasOddQuotes(bytes: Buffer, from: number, to: number): boolean {
  let odd = false;
  for (let at = from; at < to; at += 1) if (bytes[at] === quote) odd = !odd;
  return odd;
}

function isBlank(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at += 1) {
    const byte = bytes[at];
    if (byte !== 32 && byte !== 9 && byte !== 13 && byte !== newline) return false;
  }
  return true;
}

/** The line of the file on which a row of a batch begins; for Parquet, its row number. */
export function findLine({ body, namesBytes, line, type }: Batch, index: number): number {
  let [row, seen, lines, rows] = [namesBytes, namesBytes, 0, 0];
  let begun = 0;
  let isQuoted = false;
  const ends = new LineEnds(body, type === 'text/csv');
  for (let at = ends.next(seen); at >= 0; at = ends.next(seen)) {
    if (type === 'text/csv' && hasOddQuotes(body, seen, at)) isQuoted = !isQuoted;
    seen = at + 1;
    lines += 1;
    if (isQuoted) continue;
    if (!isBlank(body, row, seen)) {
      if (rows === index) return line + begun;
      rows += 1;
    }
    row = seen;
    begun = lines;
  }
  return line + begun;
}
