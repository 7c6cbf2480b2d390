import { randomInt } from 'node:crypto';
import type { AsyncBuffer, FileMetaData } from 'hyparquet';
import { askLong } from '../../catalog/object-table.ts';
import { quoteString } from '../../core/identifiers.ts';
import type { OperationNode } from '../deps.ts';
import type { SourceColumn } from './columns.ts';
import { compressors } from './parquet-packing.ts';

/** Uncompressed bytes of a column that the Worker reads: of one row group, and in total. */
const bytes_max = { group: 32 * 1024 ** 2, all: 128 * 1024 ** 2 };

type ParquetObject = { number: number; key: string; etag: string; bytes: number };

/**
 * Adds the null condition to columns whose footer does not show which rows are null.
 *
 * @param name SQL name of the staging table, which stores the rows' places
 * @param isNeeded whether null matters for a column
 * @throws StoreError, ClickHouseError
 */
export async function withNulls(
  node: OperationNode,
  object: ParquetObject,
  name: string,
  columns: SourceColumn[],
  isNeeded: (column: string) => boolean,
): Promise<SourceColumn[]> {
  const found: SourceColumn[] = [];
  for (const column of columns) {
    const { node: written } = column;
    const places =
      written?.nulls === 'unclear' && isNeeded(column.name)
        ? await findNullPlaces(node, object, column.original)
        : undefined;
    if (written === undefined || places === undefined) {
      found.push(column);
      continue;
    }
    const resolved = { ...column, node: { ...written, nulls: 'never' as const } };
    found.push(places.length === 0 ? resolved : { ...resolved, isNull: await storePlaces(node, object, name, places) });
  }
  return found;
}

const places_max = 1_000_000;

/** Stores places in the staging table under a new attempt. @returns the SQL condition for these places */
async function storePlaces(
  node: OperationNode,
  { number }: ParquetObject,
  name: string,
  places: number[],
): Promise<string> {
  const attempt = randomInt(2 ** 47);
  for (let from = 0; from < places.length; from += places_max) {
    await askLong(
      node,
      `INSERT INTO ${name} (_attempt, _object, _place) SELECT {_attempt:UInt64}, {_object:UInt32}, _place
         FROM input(${quoteString('_place UInt64')}) FORMAT TSV\n${places.slice(from, from + places_max).join('\n')}\n`,
      {
        param__attempt: attempt,
        param__object: number,
        async_insert: 0,
        insert_deduplicate: 0,
        max_query_size: 4_194_304,
      },
    );
  }
  return `_place IN (SELECT _place FROM ${name} WHERE _attempt = ${attempt})`;
}

/**
 * Finds the null rows of a Parquet column with a reader in the Worker, because ClickHouse reads them as empty.
 *
 * @returns their places, ascending; undefined for a column that is too large or has another compression
 * @throws StoreError
 */
async function findNullPlaces(
  node: OperationNode,
  { key, etag, bytes }: ParquetObject,
  column: string,
): Promise<number[] | undefined> {
  const { parquetMetadataAsync, parquetRead } = await import('hyparquet');
  const file: AsyncBuffer = {
    byteLength: bytes,
    slice: async (from, to = bytes) => {
      const found = await node.objects.slice(key, etag, from, to);
      return found.buffer.slice(found.byteOffset, found.byteOffset + found.byteLength) as ArrayBuffer;
    },
  };
  const metadata = await parquetMetadataAsync(file, { geoparquet: false });
  if (!isReadable(metadata, column)) return undefined;
  const places: number[] = [];
  let rowStart = 0;
  for (const { num_rows } of metadata.row_groups) {
    const rowEnd = rowStart + Number(num_rows);
    await parquetRead({
      file,
      metadata,
      compressors,
      columns: [column],
      rowStart,
      rowEnd,
      onChunk: ({ columnData, rowStart: first }) => {
        for (let i = 0; i < columnData.length; i += 1) {
          if (columnData[i] === null || columnData[i] === undefined) places.push(first + i);
        }
      },
    });
    rowStart = rowEnd;
  }
  return places.sort((a, b) => a - b);
}

function isReadable({ row_groups }: FileMetaData, column: string): boolean {
  let all = 0;
  for (const { columns } of row_groups) {
    const chunks = columns.map(({ meta_data }) => meta_data).filter((each) => each?.path_in_schema[0] === column);
    const size = chunks.reduce((sum, each) => sum + Number(each?.total_uncompressed_size ?? 0), 0);
    all += size;
    const isKnown = chunks.every((each) => each !== undefined && canDecompress(each.codec));
    if (!isKnown || size > bytes_max.group || all > bytes_max.all) return false;
  }
  return true;
}

const canDecompress = (codec: string) => codec === 'UNCOMPRESSED' || codec === 'SNAPPY' || codec in compressors;
