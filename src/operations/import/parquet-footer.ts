import type { FileMetaData, SchemaElement } from 'hyparquet';
import type { OperationNode } from '../deps.ts';
import { unreadable } from './read-object.ts';

/** What a leaf of Parquet means, where the type that ClickHouse gives it does not tell. */
export type Meaning = 'time' | 'date' | 'json' | Unread;

/** Values that ClickHouse gives as parts or in a form of its own, which are not the JSON that a request has. */
export type Unread = 'interval' | 'variant' | 'geometry' | 'geography';

export const isUnread = (meaning: Meaning | undefined): meaning is Unread => unread.has(meaning ?? '');
const unread = new Set<string>(['interval', 'variant', 'geometry', 'geography'] satisfies Unread[]);

/**
 * Whether a list, map or structure that may be null is: `never`; wherever it looks empty, which a structure does whose
 * members all are null; or `unclear`, where some that look so are null and some may not be.
 */
export type Nulls = 'never' | 'where-empty' | 'unclear';

/** A column of Parquet, or what is in it. */
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
 * The columns of a Parquet object as its footer has them, by name.
 *
 * @throws TimestoreError `invalid-request` for one that is not whole, or whose footer is too large; StoreError
 */
export async function footerOf(
  node: OperationNode,
  { key, etag, bytes }: { key: string; etag: string; bytes: number },
): Promise<Map<string, ParquetNode>> {
  const { parquetMetadata } = await import('hyparquet');
  const slice = async (length: number) => {
    const from = Math.max(0, bytes - length);
    return await node.objects.slice(key, etag, from, bytes);
  };
  let tail = await slice(tailBytes);
  const size = sizeOf(tail);
  if (size === undefined || size > bytes) throw unreadable(key, 'is not whole, or no Parquet: it does not end as one');
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
  return new Map(columnsOf(metadata).map((node) => [node.name, node]));
}

/** The length of the footer with the eight bytes after it; undefined without a footer. */
function sizeOf(tail: Uint8Array): number | undefined {
  if (tail.byteLength < 12) return undefined;
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  if (view.getUint32(tail.byteLength - 4, true) !== 0x31_52_41_50) return undefined;
  return view.getUint32(tail.byteLength - 8, true) + 8;
}

/** A leaf: how many of its entries have each definition level, where the object says it. */
type Leaf = { level: number; histogram: bigint[] | undefined };

function columnsOf({ schema, row_groups }: FileMetaData): ParquetNode[] {
  let next = 0;
  let leafIndex = 0;
  const histogramOf = (leaf: number): bigint[] | undefined => {
    const found = row_groups.map(
      ({ columns }) => columns[leaf]?.meta_data?.size_statistics?.definition_level_histogram as bigint[] | undefined,
    );
    if (found.some((each) => each === undefined || each.length === 0)) return undefined;
    return found.reduce<bigint[]>((sum, each) => (each ?? []).map((n, i) => (sum[i] ?? 0n) + BigInt(n)), []);
  };
  /** @param above the definition level of what it is in */
  const read = (above: number): { node: ParquetNode; leaves: Leaf[] } => {
    const element = schema[next] as SchemaElement;
    next += 1;
    const level = above + (element.repetition_type === 'REQUIRED' || next === 1 ? 0 : 1);
    if (element.num_children === undefined) {
      const leaf = { level, histogram: histogramOf(leafIndex) };
      leafIndex += 1;
      return { node: nodeOf(element, [], 'never'), leaves: [leaf] };
    }
    const inner = Array.from({ length: element.num_children }, () => read(level));
    const leaves = inner.flatMap((each) => each.leaves);
    const children = inner.map(({ node }) => node);
    const isList = children.length === 1 && children[0]?.isRepeated === true;
    return { node: nodeOf(element, children, nullsOf(element, level, leaves, isList)), leaves };
  };
  return read(0).node.children;
}

function nodeOf(element: SchemaElement, children: ParquetNode[], nulls: Nulls): ParquetNode {
  const { name, repetition_type } = element;
  return { name, meaning: meaningOf(element), nulls, children, isRepeated: repetition_type === 'REPEATED' };
}

function meaningOf({ logical_type, converted_type }: SchemaElement): Meaning | undefined {
  if (logical_type?.type === 'TIME' || converted_type?.startsWith('TIME_')) return 'time';
  if (logical_type?.type === 'DATE' || converted_type === 'DATE') return 'date';
  if (logical_type?.type === 'JSON' || converted_type === 'JSON') return 'json';
  if (converted_type === 'INTERVAL') return 'interval';
  const named = logical_type?.type.toLowerCase() as Meaning | undefined;
  return isUnread(named) ? named : undefined;
}

function nullsOf({ repetition_type }: SchemaElement, level: number, leaves: Leaf[], isList: boolean): Nulls {
  if (repetition_type !== 'OPTIONAL') return 'never';
  const [first] = leaves;
  if (first?.histogram === undefined) return 'unclear';
  // What it is in is there, and it is not.
  if ((first.histogram[level - 1] ?? 0n) === 0n) return 'never';
  const isTold = leaves.some(({ histogram, level: full }) => {
    if (histogram === undefined) return false;
    // A list is empty or not; whether one of a structure's members is never null shows in all that is less than full.
    const looksEmpty = isList ? histogram.slice(level, level + 1) : histogram.slice(level, full);
    return looksEmpty.every((n) => n === 0n);
  });
  return isTold ? 'where-empty' : 'unclear';
}
