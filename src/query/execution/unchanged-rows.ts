import { snapshotTable } from '../../buffer/snapshot.ts';
import { ApiError } from '../../core/errors.ts';
import type { Table } from '../../schema/table.ts';
import type { QueryDeps } from '../deps.ts';
import type { Running } from './execute-read.ts';
import type { ReadSnapshot } from './read-snapshot.ts';

/**
 * A further page, which is only given out as a whole if no stored row of its table was deleted or corrected while it was
 * read: the cut was compared with the first page's before.
 *
 * @throws TimestoreError `cursor-expired`, or breaks the answer off where it is already being given out; StoreError
 */
export async function ofUnchangedRows(
  ctx: QueryDeps,
  { table, changes }: ReadSnapshot,
  running: Running,
): Promise<Running> {
  const verify = async () => {
    const now = await snapshotTable(ctx, table, 'state');
    if (now === 'unknown' || now.changes !== changes) throw expiredCursor(table);
  };
  if (!running.isComplete) return { ...running, chunks: withEnd(running.chunks, verify) };
  await verify();
  return running;
}

async function* withEnd(chunks: Running['chunks'], verify: () => Promise<void>): Running['chunks'] {
  yield* chunks;
  await verify();
}

/** The refusal of a page that cannot be of the first page's cut. */
export function expiredCursor(table: Table): ApiError {
  return new ApiError(
    'cursor-expired',
    `Rows of table ${table.name} were deleted or corrected after the first page, or are being changed: no further page ` +
      'can be of the same cut. Begin again at the first page, without the cursor.',
  );
}
