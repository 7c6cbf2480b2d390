import { marksOf } from '../../buffer/watermark-token.ts';
import { encodeCursor } from '../request/cursor.ts';
import type { QueryPlan } from '../request/parse.ts';
import type { ReadSnapshot } from './read-snapshot.ts';

/** The cursor of a page that ended with the row of this sort key; undefined when no page follows. */
export function cursorOf(
  { lanes, pin, isFresh, table, bufferState, changes }: ReadSnapshot,
  plan: QueryPlan,
  key: (string | null)[] | undefined,
  warnings: string[],
): string | undefined {
  if (key === undefined) return undefined;
  const upTo = bufferState === 'ready' || isFresh ? 'seq' : 'watermark';
  const cut = pin?.lanes ?? (lanes && marksOf(lanes, upTo));
  const fields = plan.cursor?.fields ?? table.schema.fields.length;
  const cursor = encodeCursor({ query: plan.hash, fields, cut: cut ?? null, changes: changes ?? null, key });
  if (cursor === undefined)
    warnings.push('There are further rows, and no cursor: the sort key of the last one is too long.');
  return cursor;
}
