import { RefusedError } from '../../core/errors.ts';

/**
 * Records entries together. If Postgres rejects a value, it bisects the entries, so that one invalid entry does not block the
 * others.
 *
 * @returns the rejected entries, in order
 * @throws other errors of `record`; some entries may be recorded then
 */
export async function recordPast<Entry>(
  entries: Entry[],
  record: (some: Entry[]) => Promise<unknown>,
): Promise<Entry[]> {
  try {
    await record(entries);
    return [];
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    if (entries.length === 1) return entries;
    const half = Math.ceil(entries.length / 2);
    const first = await recordPast(entries.slice(0, half), record);
    return [...first, ...(await recordPast(entries.slice(half), record))];
  }
}
