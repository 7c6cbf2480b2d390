import { listLaneMarks } from '../../buffer/watermark-token.ts';
import { encodeCursor } from '../request/cursor.ts';
import type { QueryPlan } from '../request/parse.ts';
import type { ReadSnapshot } from './read-snapshot.ts';

/** The cursor after the row with this sort key; undefined when no page follows. */
export function nextCursor(
  { lanes, pin, isFresh, table, bufferState, changes }: ReadSnapshot,
  plan: QueryPlan,
  key: (string | null)[] | undefined,
  warnings: string[],
): string | undefined {
  if (key === undefined) return undefined;
  const upTo = bufferState === 'ready' || isFresh ? 'seq' : 'watermark';
  const position = pin?.lanes ?? (lanes && listLaneMarks(lanes, upTo));
  const fields = plan.cursor?.fields ?? table.schema.fields.length;
  const cursor = encodeCursor({ query: plan.hash, fields, lanes: position ?? null, changes: changes ?? null, key });
  if (cursor === undefined)
    warnings.push('More rows follow, but the sort key of the last row is too long for a cursor.');
  return cursor;
}
