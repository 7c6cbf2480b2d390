import type { FileMetaData, SchemaElement } from 'hyparquet';
import type { OperationNode } from '../deps.ts';
import { unreadable } from './read-object.ts';

/** The meaning of a Parquet leaf, if its ClickHouse type does not show it. */
export type Meaning = 'time' | 'date' | 'json' | Unread;

/** Types that ClickHouse reads in another form than the JSON of requests. */
export type Unread = 'interval' | 'variant' | 'geometry' | 'geography';

export const isUnread = (meaning: Meaning | undefined): meaning is Unread => unread.has(meaning ?? '');
const unread = new Set<string>(['interval', 'variant', 'geometry', 'geography'] satisfies Unread[]);

/**
 * Where a list, map or structure is null: `never`; `where-empty`, wherever it is empty (a structure is empty when all its
 * members are null); or `unclear`, where only some of the empty ones are null.
 */
export type Nulls = 'never' | 'where-empty' | 'unclear';

/** A column of Parquet, or a part of a column. */
export type ParquetNode = {
  name: string;
  meaning: Meaning | undefined;
  nulls: Nulls;
  isRepeated: boolean;
  children: ParquetNode[];
};

const footerBytes_max = 8 * 1024 ** 2;
const tailBytes = 64 * 1024;

/**
 * The columns in the footer of a Parquet object, by name.
 *
 * @throws TimestoreError `invalid-request` for an incomplete object or a footer that is too large; StoreError
 */
export async function readFooter(
  node: OperationNode,
  { key, etag, bytes }: { key: string; etag: string; bytes: number },
): Promise<Map<string, ParquetNode>> {
  const { parquetMetadata } = await import('hyparquet');
  const slice = async (length: number) => {
    const from = Math.max(0, bytes - length);
    return await node.objects.slice(key, etag, from, bytes);
  };
  let tail = await slice(tailBytes);
  const size = readFooterSize(tail);
  if (size === undefined || size > bytes)
    throw unreadable(key, 'is incomplete or not a Parquet file: it has no Parquet footer');
  if (size > footerBytes_max) {
    throw unreadable(key, 'has a footer of more than 8 MiB; write it with fewer row groups or columns');
  }
  if (size > tail.byteLength) tail = await slice(size);
  let metadata: FileMetaData;
  try {
    metadata = parquetMetadata(tail);
  } catch {
    throw unreadable(key, 'cannot be read as parquet: its footer is damaged');
  }
  return new Map(buildNodes(metadata).map((node) => [node.name, node]));
}

/** The length of the footer with the eight bytes after it; undefined without a footer. */
function readFooterSize(tail: Uint8Array): number | undefined {
  if (tail.byteLength < 12) return undefined;
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  if (view.getUint32(tail.byteLength - 4, true) !== 0x31_52_41_50) return undefined;
  return view.getUint32(tail.byteLength - 8, true) + 8;
}

/** A leaf: its definition level, and the number of entries at each level if the footer has it. */
type Leaf = { level: number; histogram: bigint[] | undefined };

function buildNodes({ schema, row_groups }: FileMetaData): ParquetNode[] {
  let next = 0;
  let leafIndex = 0;
  const histogramOf = (leaf: number): bigint[] | undefined => {
    const found = row_groups.map(
      ({ columns }) => columns[leaf]?.meta_data?.size_statistics?.definition_level_histogram as bigint[] | undefined,
    );
    if (found.some((each) => each === undefined || each.length === 0)) return undefined;
    return found.reduce<bigint[]>((sum, each) => (each ?? []).map((n, i) => (sum[i] ?? 0n) + BigInt(n)), []);
  };
  /** @param above definition level of the parent */
  const read = (above: number): { node: ParquetNode; leaves: Leaf[] } => {
    const element = schema[next] as SchemaElement;
    next += 1;
    const level = above + (element.repetition_type === 'REQUIRED' || next === 1 ? 0 : 1);
    if (element.num_children === undefined) {
      const leaf = { level, histogram: histogramOf(leafIndex) };
      leafIndex += 1;
      return { node: buildNode(element, [], 'never'), leaves: [leaf] };
    }
    const inner = Array.from({ length: element.num_children }, () => read(level));
    const leaves = inner.flatMap((each) => each.leaves);
    const children = inner.map(({ node }) => node);
    const isList = children.length === 1 && children[0]?.isRepeated === true;
    return { node: buildNode(element, children, findNulls(element, level, leaves, isList)), leaves };
  };
  return read(0).node.children;
}

function buildNode(element: SchemaElement, children: ParquetNode[], nulls: Nulls): ParquetNode {
  const { name, repetition_type } = element;
  return { name, meaning: findMeaning(element), nulls, children, isRepeated: repetition_type === 'REPEATED' };
}

function findMeaning({ logical_type, converted_type }: SchemaElement): Meaning | undefined {
  if (logical_type?.type === 'TIME' || converted_type?.startsWith('TIME_')) return 'time';
  if (logical_type?.type === 'DATE' || converted_type === 'DATE') return 'date';
  if (logical_type?.type === 'JSON' || converted_type === 'JSON') return 'json';
  if (converted_type === 'INTERVAL') return 'interval';
  const named = logical_type?.type.toLowerCase() as Meaning | undefined;
  return isUnread(named) ? named : undefined;
}

function findNulls({ repetition_type }: SchemaElement, level: number, leaves: Leaf[], isList: boolean): Nulls {
  if (repetition_type !== 'OPTIONAL') return 'never';
  const [first] = leaves;
  if (first?.histogram === undefined) return 'unclear';
  // Entries one level below: the parent is present and this node is null.
  if ((first.histogram[level - 1] ?? 0n) === 0n) return 'never';
  const isClear = leaves.some(({ histogram, level: full }) => {
    if (histogram === undefined) return false;
    // A list has one level for empty. A structure is never empty if one of its leaves is always at its full level.
    const looksEmpty = isList ? histogram.slice(level, level + 1) : histogram.slice(level, full);
    return looksEmpty.every((n) => n === 0n);
  });
  return isClear ? 'where-empty' : 'unclear';
}
