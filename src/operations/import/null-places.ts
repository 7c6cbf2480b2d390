import { randomInt } from 'node:crypto';
import type { AsyncBuffer, FileMetaData } from 'hyparquet';
import { askLong } from '../../catalog/object-table.ts';
import { quoteString } from '../../core/identifiers.ts';
import type { OperationNode } from '../deps.ts';
import type { SourceColumn } from './columns.ts';
import { compressors } from './parquet-packing.ts';

/** So much of a column the Worker takes, unpacked: of a row group, and in all. */
const bytes_max = { group: 32 * 1024 ** 2, all: 128 * 1024 ** 2 };

type ParquetObject = { number: number; key: string; etag: string; bytes: number };

/**
 * Columns with where they are null, of those that do not tell it otherwise.
 *
 * @param name the staging table as it stands in SQL, which is to have the places
 * @param isAsked whether it matters for a column
 * @throws StoreError, ClickHouseError
 */
export async function withNulls(
  node: OperationNode,
  object: ParquetObject,
  name: string,
  columns: SourceColumn[],
  isAsked: (column: string) => boolean,
): Promise<SourceColumn[]> {
  const found: SourceColumn[] = [];
  for (const column of columns) {
    const { node: written } = column;
    const places =
      written?.nulls === 'unclear' && isAsked(column.name)
        ? await nullPlaces(node, object, column.original)
        : undefined;
    if (written === undefined || places === undefined) {
      found.push(column);
      continue;
    }
    const told = { ...column, node: { ...written, nulls: 'never' as const } };
    found.push(places.length === 0 ? told : { ...told, isNull: await keepPlaces(node, object, name, places) });
  }
  return found;
}

const places_max = 1_000_000;

/** Puts places into the staging table, under a number of their own. @returns the condition that a place is one of them */
async function keepPlaces(
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
 * Reads in the Worker which rows of a Parquet column are null, where ClickHouse makes empty ones of them.
 *
 * @returns their places, ascending; undefined where the column is too large for that, or packed in another way
 * @throws StoreError
 */
async function nullPlaces(
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
    const isKnown = chunks.every((each) => each !== undefined && isPackedAs(each.codec));
    if (!isKnown || size > bytes_max.group || all > bytes_max.all) return false;
  }
  return true;
}

const isPackedAs = (codec: string) => codec === 'UNCOMPRESSED' || codec === 'SNAPPY' || codec in compressors;
