import type { Compressors, FileMetaData } from 'hyparquet';

/** Workarounds for files that the Parquet reader does not expect. */

/** Maximum length of a dictionary header. */
const headerBytes_max = 100n;
/** Including writers without a version. */
const leavesOutHeaders = /^parquet-mr(?:\s*$|\s+version\s+(?:0\.|1\.[01]\.|1\.2\.[0-8](?![0-9])))/;

/**
 * Old writers omit the dictionary header in the size of a column chunk, which then seems to end before its last page. Such
 * chunks end where the next one begins.
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

/** Decompressors that accept empty pages. */
export function allowEmptyPages(compressors: Compressors): Compressors {
  const one = ([codec, unpack]: [string, Compressors[keyof Compressors]]) => [
    codec,
    (packed: Uint8Array, bytes: number) => (bytes === 0 ? new Uint8Array() : unpack?.(packed, bytes)),
  ];
  return Object.fromEntries((Object.entries(compressors) as [string, Compressors[keyof Compressors]][]).map(one));
}
