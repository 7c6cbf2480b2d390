import { expect } from 'vitest';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import { type Job, readJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { at, flush, type Instance, newDataset, onStored, send, tableOf } from '../support.ts';

/** Works on an instance's jobs until one of them is over. */
export async function workUntilOver(own: Instance, { id }: Pick<Job, 'id'>): Promise<Job> {
  // The test's own time is what ends it.
  const timeout = 300_000;
  await expect
    .poll(
      async () => {
        await runDueJobs(own, jobHandlers, own.now() + 5_000);
        return (await readJob(own, id)).state;
      },
      { timeout },
    )
    .toMatch(/done|failed/);
  return await readJob(own, id);
}

/**
 * A day with 70 MB of text, which hardly compresses. Left to itself ClickHouse uploads it as a part of 32 MiB, one of 16
 * and a rest: parts before the last that differ in size.
 */
export async function withLargeDay(own: Instance): Promise<{ dataset: string; rows: number }> {
  const dataset = newDataset();
  await send(own, dataset, [{ timestamp: at(1), s: 'small' }]);
  await flush(own, dataset);
  const table = await tableOf(own, dataset);
  await onStored(
    own,
    table,
    `INSERT INTO ${qualifiedName(table)} (_lane, _seq, _row, timestamp, s)
     SELECT 0, 1, 1 + number, '2026-05-01 10:00:02', randomPrintableASCII(100_000) FROM numbers(700)`,
  );
  return { dataset, rows: 701 };
}
