import type { AsyncBuffer, Compressors, FileMetaData, RowGroup, SchemaElement } from 'hyparquet';
import { ApiError, StoreError } from '../../../core/errors.ts';
import type { OperationNode } from '../../deps.ts';
import { compressors as imported } from '../parquet-packing.ts';
import { unreadable } from '../read-object.ts';
import { buildColumns, lowerSchema, type Node, parsers, renderJson } from './parquet-json.ts';
import type { Wrong } from './values.ts';

/** The meaning of a column's numbers or texts, if it decides which fields accept them. */
export type Kind = 'time' | 'date' | 'json' | undefined;

/** A Parquet object, opened for hyparquet. */
export type ParquetObject = {
  key: string;
  file: AsyncBuffer;
  compressors: Compressors;
  /** Metadata with decimals as integers and maps as lists of entries. */
  metadata: FileMetaData;
  columns: Map<string, { kind: Kind; toJson(value: unknown): string | Wrong }>;
};

/** Throws TimestoreError `invalid-request`, `conflict`; StoreError. */
export async function openParquet(
  node: OperationNode,
  key: string,
  etag: string,
  bytes: number,
): Promise<ParquetObject> {
  const { parquetMetadataAsync } = await import('hyparquet');
  const { decompressLz4, decompressLz4Raw } = await import('./lz4.ts');
  const compressors = { ...imported, LZ4: decompressLz4, LZ4_RAW: decompressLz4Raw };
  const file = await bucketFile(node, key, etag, bytes);
  const metadata = await parquetMetadataAsync(file).catch((error: unknown) => {
    if (error instanceof ApiError || error instanceof StoreError) throw error;
    throw unreadable(key, 'cannot be read as parquet: it is truncated, damaged or of another format');
  });
  const { schema } = metadata;
  if (schema.some(({ name }) => name === '__proto__')) {
    throw unreadable(key, 'has a column or a member __proto__, which is not a valid field name');
  }
  const columns: ParquetObject['columns'] = new Map();
  for (const node of buildColumns(schema)) {
    columns.set(node.element.name, { kind: findKind(node.element), toJson: (value) => jsonText(node, value) });
  }
  return { key, file, compressors, metadata: { ...metadata, schema: lowerSchema(schema) }, columns };
}

function findKind({ logical_type, converted_type }: SchemaElement): Kind {
  const type = logical_type?.type ?? converted_type ?? '';
  if (type.startsWith('TIME') && !type.startsWith('TIMESTAMP')) return 'time';
  return type === 'DATE' ? 'date' : converted_type === 'JSON' ? 'json' : undefined;
}

function jsonText(node: Node, value: unknown): string | Wrong {
  try {
    return renderJson(node, value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { reason: 'wrong-type', detail: error.message };
  }
}

const windowBytes_max = 32 * 1024 ** 2;
const chunkBytes_max = 96 * 1024 ** 2;
const sliceBytes = 8 * 1024 ** 2;
const sliceRows_max = 20_000;

/** Rows of a part of an object: the values of each column, one for each row. */
export type Slice = { place: number; rows: number; values: Map<string, unknown[]> };

/**
 * Reads columns from row `from` on, in parts that fit into memory.
 *
 * @throws TimestoreError `invalid-request`, `conflict`, `limit-exceeded`; StoreError
 */
export async function* readSlices(object: ParquetObject, names: string[], from: number): AsyncGenerator<Slice> {
  let groupStart = 0;
  for (const group of object.metadata.row_groups) {
    const groupEnd = groupStart + Number(group.num_rows);
    if (groupEnd > from && names.length > 0) {
      const file = await fetchWindow(object, group);
      const rows = Math.max(1, Number(group.num_rows));
      const perRow = Math.max(1, Number(group.total_byte_size) / rows);
      const step = Math.max(1, Math.min(sliceRows_max, Math.floor(sliceBytes / perRow)));
      for (let start = Math.max(from, groupStart); start < groupEnd; start += step) {
        const end = Math.min(groupEnd, start + step);
        const values = new Map<string, unknown[]>();
        for (const name of names) values.set(name, await readColumn({ ...object, file }, name, start, end));
        yield { place: start, rows: end - start, values };
      }
    }
    groupStart = groupEnd;
  }
}

async function readColumn(object: ParquetObject, name: string, rowStart: number, rowEnd: number): Promise<unknown[]> {
  const { parquetRead } = await import('hyparquet');
  const { file, compressors, metadata, key } = object;
  let values: unknown[] = [];
  try {
    await parquetRead({
      file,
      metadata,
      compressors,
      parsers,
      columns: [name],
      rowStart,
      rowEnd,
      utf8: false,
      onComplete: (rows: unknown[][]) => {
        values = rows.map(([value]) => value);
      },
    });
  } catch (error) {
    if (error instanceof ApiError || error instanceof StoreError) throw error;
    throw unreadable(
      key,
      `cannot be read in column ${name}, rows ${rowStart + 1} to ${rowEnd}: ${(error as Error).message}`,
    );
  }
  if (values.length !== rowEnd - rowStart) {
    throw unreadable(key, `has ${values.length} values in column ${name} for ${rowEnd - rowStart} rows`);
  }
  return values;
}

/** Fetches a row group once if it fits into memory. Otherwise each of its columns is fetched when it is read. */
async function fetchWindow({ key, file }: ParquetObject, { columns }: RowGroup): Promise<AsyncBuffer> {
  const chunks = columns.flatMap(({ meta_data: chunk }) => {
    if (chunk === undefined) return [];
    const start = Number(chunk.dictionary_page_offset ?? chunk.data_page_offset);
    const first = Math.min(start, Number(chunk.data_page_offset));
    return [{ start: first, end: first + Number(chunk.total_compressed_size) }];
  });
  if (chunks.some(({ start, end }) => end - start > chunkBytes_max)) {
    const limit = `${chunkBytes_max / 1024 ** 2} MiB`;
    throw new ApiError(
      'limit-exceeded',
      `Object ${key} has a column of more than ${limit} in a row group; write it with smaller row groups.`,
    );
  }
  const [from, to] = [Math.min(...chunks.map(({ start }) => start)), Math.max(...chunks.map(({ end }) => end))];
  if (chunks.length === 0 || to - from > windowBytes_max) return file;
  const bytes = await file.slice(from, to);
  return {
    byteLength: file.byteLength,
    slice: (start, end = file.byteLength) =>
      start >= from && end <= to ? bytes.slice(start - from, end - from) : file.slice(start, end),
  };
}

const address_s = 3_600;

async function bucketFile(node: OperationNode, key: string, etag: string, byteLength: number): Promise<AsyncBuffer> {
  const url = await node.objects.presign(key, address_s);
  return {
    byteLength,
    async slice(start, end = byteLength) {
      let answer: Response;
      let bytes: ArrayBuffer;
      try {
        answer = await fetch(url, { headers: { range: `bytes=${start}-${end - 1}` } });
        bytes = await answer.arrayBuffer();
      } catch (error) {
        throw new StoreError('s3', 'did not answer', error);
      }
      if (!answer.ok) throw new StoreError('s3', `answered ${answer.status} for object ${key}`, undefined);
      if (answer.headers.get('etag') !== etag) {
        throw new ApiError(
          'conflict',
          `Object ${key} was written again while it was read. The verification reads it again.`,
        );
      }
      return bytes.byteLength > end - start ? bytes.slice(start, end) : bytes;
    },
  };
}
