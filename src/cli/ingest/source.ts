import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import * as zlib from 'node:zlib';
import { CliFailure, isSystemError, systemMessage, usage } from '../failure.ts';

export const formats = ['ndjson', 'csv', 'parquet'] as const;
export type Format = (typeof formats)[number];

/** A file, or standard input. */
export type Source = {
  /** `-` for standard input. */
  path: string;
  /** The name in messages and idempotency keys. */
  name: string;
  /** The size before decompression; undefined for standard input. */
  bytes: number | undefined;
};

/** Throws CliFailure for a missing or unreadable file, before any file is sent. */
export async function findSource(path: string): Promise<Source> {
  if (path === '-') return { path, name: '-', bytes: undefined };
  try {
    const found = await stat(path);
    if (found.isDirectory()) throw usage(`${path} is a folder. Name the files in it, such as ${path}/*.ndjson.`);
    // A named pipe has no size and cannot be read twice.
    return { path: resolve(path), name: basename(path), bytes: found.isFile() ? found.size : undefined };
  } catch (error) {
    throw isSystemError(error) ? new CliFailure(systemMessage(error, path)) : error;
  }
}

/** The compression, by file extension. */
export type Packing = 'gz' | 'zst';

export type Opened = { format: Format; packing: Packing | undefined; chunks: AsyncIterable<Buffer> };

const chunkBytes = 256 * 1024;
const magic = { gzip: [0x1f, 0x8b], zstd: [0x28, 0xb5, 0x2f, 0xfd], parquet: [...Buffer.from('PAR1')] };

/**
 * The decompressed bytes of a source and its format: by `requested`, by the first bytes, by the name.
 *
 * @param signal ends the read, even if no input arrives
 * @param onRead called with the number of bytes read, before decompression
 */
export async function openSource(
  source: Source,
  stdin: Readable,
  requested: Format | undefined,
  signal: AbortSignal,
  onRead: (bytes: number) => void,
): Promise<Opened> {
  const raw: Readable = source.path === '-' ? stdin : createReadStream(source.path, { highWaterMark: chunkBytes });
  const end = () => raw.destroy();
  signal.addEventListener('abort', end, { once: true });
  raw.once('close', () => signal.removeEventListener('abort', end));
  const packed = await peek(counted(raw, source, onRead));
  const unpacked = await peek(unpack(packed, source));
  return {
    format: detectFormat(source, unpacked.head, requested),
    packing: detectPacking(packed.head),
    chunks: unpacked.chunks,
  };
}

/** The format and compression of a file. Throws CliFailure for unknown ones. */
export async function detectKind(
  source: Source,
  requested: Format | undefined,
  { stdin, signal }: { stdin: Readable; signal: AbortSignal },
): Promise<Pick<Opened, 'format' | 'packing'>> {
  const { format, packing, chunks } = await openSource(source, stdin, requested, signal, () => undefined);
  // Closes the file.
  for await (const _ of chunks) break;
  return { format, packing };
}

async function* counted(raw: Readable, { path }: Source, onRead: (bytes: number) => void): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of raw) {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Buffer);
      onRead(bytes.length);
      yield bytes;
    }
  } catch (error) {
    throw isSystemError(error) ? new CliFailure(systemMessage(error, path)) : error;
  }
}

type Peeked = { head: Buffer; chunks: AsyncGenerator<Buffer> };

const headBytes = 4_096;

/** Reads the head of a stream, which is then replayed. */
async function peek(chunks: AsyncGenerator<Buffer>): Promise<Peeked> {
  const seen: Buffer[] = [];
  let bytes = 0;
  while (bytes < headBytes) {
    const { done, value } = await chunks.next();
    if (done) break;
    seen.push(value);
    bytes += value.length;
    // Does not wait for a full head: the input may be interactive.
    if (value.includes(10)) break;
  }
  async function* all() {
    try {
      yield* seen;
      yield* chunks;
    } finally {
      await chunks.return(undefined);
    }
  }
  return { head: Buffer.concat(seen).subarray(0, headBytes), chunks: all() };
}

const begins = (head: Buffer, bytes: number[]): boolean => bytes.every((byte, i) => head[i] === byte);

const detectPacking = (head: Buffer): Packing | undefined =>
  begins(head, magic.gzip) ? 'gz' : begins(head, magic.zstd) ? 'zst' : undefined;

async function* unpack({ head, chunks }: Peeked, { name }: Source): AsyncGenerator<Buffer> {
  const packing = detectPacking(head);
  const unpacker = packing === 'gz' ? zlib.createGunzip() : packing === 'zst' ? zstd(name) : undefined;
  if (unpacker === undefined) {
    yield* chunks;
    return;
  }
  const feeding = (async () => {
    try {
      for await (const chunk of chunks) {
        if (!unpacker.write(chunk)) await drained(unpacker);
        if (unpacker.destroyed) return;
      }
      unpacker.end();
    } catch (error) {
      unpacker.destroy(error as Error);
    }
  })();
  try {
    for await (const chunk of unpacker) yield chunk as Buffer;
  } catch (error) {
    if (error instanceof CliFailure) throw error;
    throw new CliFailure(`${name} cannot be decompressed: ${(error as Error).message}. The file may be incomplete.`);
  } finally {
    unpacker.destroy();
    await feeding;
  }
}

function zstd(name: string) {
  if (typeof zlib.createZstdDecompress === 'function') return zlib.createZstdDecompress();
  throw new CliFailure(
    `${name} is compressed with zstd, which requires Node.js 22.15 or newer. Decompress it: zstdcat ${name} | …`,
  );
}

function drained(stream: zlib.Gunzip | zlib.ZstdDecompress): Promise<void> {
  const { promise, resolve: done } = Promise.withResolvers<void>();
  stream.once('drain', done).once('close', done);
  return promise;
}

function detectFormat({ name }: Source, head: Buffer, requested: Format | undefined): Format {
  if (requested !== undefined) return requested;
  if (begins(head, magic.parquet)) return 'parquet';
  if (head.includes(0)) {
    throw new CliFailure(`${name} is neither NDJSON nor CSV nor Parquet: it has bytes that are not text.`);
  }
  const plain = name.toLowerCase().replace(/\.(gz|zst)$/, '');
  if (/\.(ndjson|jsonl)$/.test(plain)) return 'ndjson';
  if (plain.endsWith('.csv')) return 'csv';
  const text = head
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .trimStart();
  if (text.startsWith('{')) return 'ndjson';
  if (text.startsWith('[')) {
    throw new CliFailure(
      `${name} is one JSON array. Convert it to one row a line: jq -c '.[]' ${name} | timestore ingest - …`,
    );
  }
  if (text.includes(',')) return 'csv';
  throw usage(`The format of ${name} cannot be detected: use --format ndjson, csv or parquet.`);
}
