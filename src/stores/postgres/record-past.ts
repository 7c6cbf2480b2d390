import { RefusedError } from '../../core/errors.ts';

/**
 * Records entries together; where Postgres refuses a value among them, in halves, so that every entry is recorded but for
 * those that are refused by themselves. What several share must not wait for the entry of one.
 *
 * @returns the refused ones, in their order
 * @throws what `record` throws otherwise: some of the entries may be recorded then
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
