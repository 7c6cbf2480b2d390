import { expect } from 'vitest';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import { type Job, readJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { at, flush, type Instance, newDataset, onStored, send, tableOf } from '../support.ts';

/** Consecutive failures of a job that no test expects: with the waits between them they take a minute. */
const failures_max = 6;

/** Works on an instance's jobs until one of them is over. A job that fails again and again fails the test. */
export async function workUntilOver(own: Instance, { id }: Pick<Job, 'id'>): Promise<Job> {
  const isFailing = () => {
    const last = own.events.findLast(({ event, job }) => event === 'job' && job === id);
    return Number(last?.attempts) >= failures_max;
  };
  // The test's own time is what ends it.
  const timeout = 300_000;
  await expect
    .poll(
      async () => {
        await runDueJobs(own, jobHandlers, own.now() + 5_000);
        return isFailing() ? 'failing' : (await readJob(own, id)).state;
      },
      { timeout },
    )
    .toMatch(/done|failed|failing/);
  const job = await readJob(own, id);
  expect(job.state, job.error ?? '').toMatch(/done|failed/);
  return job;
}

/** The rows of a SELECT as a Parquet file. */
export async function parquetOf(own: Instance, select: string): Promise<Uint8Array<ArrayBuffer>> {
  const { body } = await own.clickhouse.open({
    settings: { date_time_input_format: 'best_effort' },
    body: `${select} FORMAT Parquet`,
    timeout_ms: 10_000,
    signal: new AbortController().signal,
  });
  return new Uint8Array(await new Response(body as ReadableStream).arrayBuffer());
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
