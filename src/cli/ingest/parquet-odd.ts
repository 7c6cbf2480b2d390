import type { Compressors, FileMetaData } from 'hyparquet';

/** What writers do that the reader of Parquet does not expect. */

/** The header of a dictionary is no longer than this. */
const headerBytes_max = 100n;
/** Also those that do not say which version they are. */
const leavesOutHeaders = /^parquet-mr(?:\s*$|\s+version\s+(?:0\.|1\.[01]\.|1\.2\.[0-8](?![0-9])))/;

/**
 * Old writers leave the header of a dictionary out of the size of its column, which then seems to end before its last page
 * does. Those columns end where the next one begins.
 *
 * @param fileBytes of the file as a whole
 */
export function withWholeColumns(metadata: FileMetaData, fileBytes: number): FileMetaData {
  if (!leavesOutHeaders.test(metadata.created_by ?? '')) return metadata;
  const columns = metadata.row_groups.flatMap((group) => group.columns.flatMap(({ meta_data }) => meta_data ?? []));
  const chunkStart = ({ dictionary_page_offset: dictionary, data_page_offset: data }: (typeof columns)[number]) =>
    dictionary !== undefined && dictionary > 0n && dictionary < data ? dictionary : data;
  const footer = BigInt(fileBytes - metadata.metadata_length - 8);
  const starts = [...columns.map(chunkStart), footer].sort((a, b) => (a < b ? -1 : 1));
  for (const column of columns) {
    const end = chunkStart(column) + column.total_compressed_size;
    const gap = (starts.find((start) => start >= end) ?? end) - end;
    if (gap > 0n && gap <= headerBytes_max) column.total_compressed_size += gap;
  }
  return metadata;
}

/** Unpackers for which nothing is packed as nothing, whatever their form makes of it. */
export function allowEmptyPages(compressors: Compressors): Compressors {
  const one = ([codec, unpack]: [string, Compressors[keyof Compressors]]) => [
    codec,
    (packed: Uint8Array, bytes: number) => (bytes === 0 ? new Uint8Array() : unpack?.(packed, bytes)),
  ];
  return Object.fromEntries((Object.entries(compressors) as [string, Compressors[keyof Compressors]][]).map(one));
}
