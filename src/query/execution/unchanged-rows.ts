import { snapshotTable } from '../../buffer/snapshot.ts';
import { ApiError } from '../../core/errors.ts';
import type { Table } from '../../schema/table.ts';
import type { QueryDeps } from '../deps.ts';
import type { ReadResult } from './execute-read.ts';
import type { ReadSnapshot } from './read-snapshot.ts';

/**
 * Checks after the read of a further page that no stored row was deleted or corrected since the snapshot, which
 * `takePageSnapshot` has compared with the first page.
 *
 * @throws ApiError `cursor-expired`; a streamed answer breaks off with it instead; StoreError
 */
export async function requireUnchangedRows(
  ctx: QueryDeps,
  { table, changes }: ReadSnapshot,
  running: ReadResult,
): Promise<ReadResult> {
  const verify = async () => {
    const now = await snapshotTable(ctx, table, 'state');
    if (now === 'unknown' || now.changes !== changes) throw expiredCursor(table);
  };
  if (!running.isComplete) return { ...running, chunks: verifyAtEnd(running.chunks, verify) };
  await verify();
  return running;
}

async function* verifyAtEnd(chunks: ReadResult['chunks'], verify: () => Promise<void>): ReadResult['chunks'] {
  yield* chunks;
  await verify();
}

export function expiredCursor(table: Table): ApiError {
  return new ApiError(
    'cursor-expired',
    `Rows of table ${table.name} were deleted or corrected after the first page, or are being changed: the snapshot of the ` +
      'first page cannot be read any more. Restart at the first page, without the cursor.',
  );
}
