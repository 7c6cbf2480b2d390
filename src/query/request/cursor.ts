import { hash } from 'node:crypto';
import * as z from 'zod';
import { laneMark, type Watermark } from '../../buffer/watermark-token.ts';
import type { Table } from '../../schema/table.ts';
import type { QueryBody } from './parse.ts';

const content = z.object({
  /** Hash of the query that the cursor belongs to. */
  q: z.string(),
  /** Number of fields of the table at the first page. */
  n: z.int().positive(),
  /** The lane positions of the snapshot of the first page; null for a page without a snapshot. */
  c: z.array(laneMark).nullable(),
  /** Number of deletions and corrections of stored rows at the first page; null while one was running. */
  m: z.number().nullable().default(null),
  /** The sort key of the last row, each value as text. */
  k: z.array(z.string().nullable()),
});

/** The end of a page and its snapshot. Opaque to clients; its values come from rows that the client has received. */
export type Cursor = {
  query: string;
  fields: number;
  lanes: Watermark['lanes'] | null;
  changes: number | null;
  key: (string | null)[];
};

const prefix = 'c1.';
/** Cursors are also sent in headers, whose size is limited. */
const cursorChars_max = 6_000;

/** Undefined when the sort key of the last row is too long. */
export function encodeCursor({ query, fields, lanes: cut, changes, key }: Cursor): string | undefined {
  const text = JSON.stringify({ q: query, n: fields, c: cut, m: changes, k: key } satisfies z.input<typeof content>);
  const cursor = prefix + Buffer.from(text).toString('base64url');
  return cursor.length > cursorChars_max ? undefined : cursor;
}

/** Undefined when the text is not a cursor. */
export function decodeCursor(text: string): Cursor | undefined {
  if (!text.startsWith(prefix) || text.length > cursorChars_max) return undefined;
  try {
    const { q, n, c, m, k } = content.parse(JSON.parse(Buffer.from(text.slice(prefix.length), 'base64url').toString()));
    return { query: q, fields: n, lanes: c, changes: m, key: k };
  } catch {
    return undefined;
  }
}

/** Hash of the members that select and order rows; page size, format and freshness may differ between pages. */
export function queryHash(table: Table, body: QueryBody): string {
  const { timeRange, columns, filters, downsample, orderBy, afterWatermark } = body;
  const members = [table.dataset, table.physical, timeRange, columns, filters, downsample, orderBy, afterWatermark];
  return hash('sha256', JSON.stringify(members), 'base64url').slice(0, 16);
}
