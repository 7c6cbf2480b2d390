import { hash } from 'node:crypto';
import * as z from 'zod';
import { laneMark, type Watermark } from '../../buffer/watermark-token.ts';
import type { Table } from '../../schema/table.ts';
import type { QueryBody } from './parse.ts';

const content = z.object({
  /** Of the query that it belongs to. */
  q: z.string(),
  /** How many fields the table had at the first page. */
  n: z.int().positive(),
  /** The cut of the first page, as a token says it. Null where there was none. */
  c: z.array(laneMark).nullable(),
  /** How often stored rows of the table had been changed at the first page; null while they were. */
  m: z.number().nullable().default(null),
  /** The sort key of the last row, as the text of each value. */
  k: z.array(z.string().nullable()),
});

/** Where a page ended, and of which cut. What clients see is opaque, and holds nothing but what they were answered. */
export type Cursor = {
  query: string;
  fields: number;
  lanes: Watermark['lanes'] | null;
  changes: number | null;
  key: (string | null)[];
};

const prefix = 'c1.';
/** Longer sort keys make no cursor: it goes through headers too. */
const cursorChars_max = 6_000;

/** Undefined when the last row's sort key is too long to be handed around. */
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

/** Of everything that decides which rows come in which order; not of how many at a time, in which form, how fresh. */
export function queryHash(table: Table, body: QueryBody): string {
  const { timeRange, columns, filters, downsample, orderBy, afterWatermark } = body;
  const what = [table.dataset, table.physical, timeRange, columns, filters, downsample, orderBy, afterWatermark];
  return hash('sha256', JSON.stringify(what), 'base64url').slice(0, 16);
}
