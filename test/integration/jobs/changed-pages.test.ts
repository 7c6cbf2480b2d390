import { expect, test } from 'vitest';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import type { Job } from '../../../src/jobs/job.ts';
import { readJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { scheduleRowChange } from '../../../src/operations/row-changes/change-rows.ts';
import type { RowsChange } from '../../../src/operations/row-changes/changed-rows.ts';
import { queryTable } from '../../../src/query/execution/query-table.ts';
import { queryBody } from '../../../src/query/request/parse.ts';
import {
  at,
  everyone,
  flush,
  type Instance,
  newDataset,
  newInstance,
  onStored,
  query,
  send,
  tableOf,
  textOf,
  through,
} from '../support.ts';
import { workUntilOver } from './support.ts';

/** With keys of its own: jobs are of who has them. */
const ctx = newInstance({ TIMESTORE_KEY_PREFIX: `changed-${process.pid}` });
const byV = { orderBy: [{ column: 'v' }], columns: ['id', 'v'] };

/** Twelve rows in the order of v: some in ClickHouse, some in the buffer. */
async function withRows(): Promise<string> {
  const dataset = newDataset();
  const rows = Array.from({ length: 12 }, (_, id) => ({
    timestamp: at(id),
    id,
    v: id,
    s: id % 2 === 0 ? 'even' : 'odd',
  }));
  await send(ctx, dataset, rows.slice(0, 8));
  await flush(ctx, dataset);
  await send(ctx, dataset, rows.slice(8));
  return dataset;
}

const where = (column: string, value: unknown) => ({ filters: { columns: [{ column, op: 'eq', value }] } });
const begin = (dataset: string, request: object): Promise<Job> =>
  scheduleRowChange(ctx, { dataset, table: 'm', request: request as RowsChange });
const change = async (dataset: string, request: object): Promise<unknown> => {
  const job = await workUntilOver(ctx, await begin(dataset, request));
  expect(job.state).toBe('done');
  return job.result;
};

const expired = { code: 'cursor-expired', message: expect.stringMatching(/first page/) };

test.each<[string, object, object]>([
  ['a correction of the field that orders them', { rows: where('id', 0), set: { v: 100 } }, byV],
  ['a correction of another field', { rows: where('id', 11), set: { s: 'eleven' } }, byV],
  [
    'a correction of a field that is filtered by',
    { rows: where('id', 11), set: { s: 'even' } },
    { ...where('s', 'odd'), columns: ['id'] },
  ],
  ['a deletion of rows of a further page', { rows: where('id', 11) }, {}],
  [
    'a deletion of rows of the page before',
    { rows: where('id', 0) },
    { orderBy: [{ column: 'id', direction: 'desc' }] },
  ],
])('a page after %s is refused, since it cannot be of the first one’s cut', async (_, request, asked) => {
  const dataset = await withRows();
  const first = await query(ctx, dataset, { ...asked, limit: 2 });
  await change(dataset, request);
  await expect(query(ctx, dataset, { ...asked, limit: 2, cursor: first.cursor })).rejects.toMatchObject(expired);
  // From the first page on again, all of it comes, each row once.
  const seen: unknown[] = [];
  let cursor: string | null | undefined;
  do {
    const page = await query(ctx, dataset, { ...asked, limit: 2, ...(cursor && { cursor }) });
    seen.push(...page.rows.map(({ id }) => id));
    cursor = page.cursor;
  } while (cursor !== null);
  const whole = await query(ctx, dataset, { ...asked, limit: 100 });
  expect(seen).toEqual(whole.rows.map(({ id }) => id));
});

test('pages go on after a change of no row, and after rows that were corrected before the first page', async () => {
  const dataset = await withRows();
  await change(dataset, { rows: where('id', 3), set: { v: 200 } });
  const first = await query(ctx, dataset, { ...byV, limit: 8 });
  expect(await change(dataset, { rows: where('id', 99) })).toMatchObject({ rows: 0 });
  const second = await query(ctx, dataset, { ...byV, limit: 8, cursor: first.cursor });
  expect([...first.rows, ...second.rows].map(({ id }) => id)).toEqual([0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 3]);
});

test('a page is refused while rows are changed, and one whose first page was of that time as well', async () => {
  const dataset = await withRows();
  const before = await query(ctx, dataset, { ...byV, limit: 2 });
  await flush(ctx, dataset);
  const table = await tableOf(ctx, dataset);
  await onStored(ctx, table, `SYSTEM STOP MERGES ${qualifiedName(table)}`);
  const job = await begin(dataset, { rows: where('id', 0), set: { v: 100 } });
  await expect
    .poll(async () => {
      await runDueJobs(ctx, jobHandlers, ctx.now() + 1_000);
      return (await readJob(ctx, job.id)).progress.isSent;
    })
    .toBe(true);
  const meanwhile = await query(ctx, dataset, { ...byV, limit: 2 });
  expect(meanwhile.rows.map(({ id }) => id)).toEqual([0, 1]);
  for (const { cursor } of [before, meanwhile]) {
    await expect(query(ctx, dataset, { ...byV, limit: 2, cursor })).rejects.toMatchObject(expired);
  }
  await onStored(ctx, table, `SYSTEM START MERGES ${qualifiedName(table)}`);
  await workUntilOver(ctx, job);
  for (const { cursor } of [before, meanwhile]) {
    await expect(query(ctx, dataset, { ...byV, limit: 2, cursor })).rejects.toMatchObject(expired);
  }
  const after = await query(ctx, dataset, { ...byV, limit: 11 });
  const last = await query(ctx, dataset, { ...byV, limit: 11, cursor: after.cursor });
  expect([...after.rows, ...last.rows].map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0]);
});

/** An instance whose reader does something else first, once it is asked for rows. */
function reading(before: () => Promise<unknown>, overrides: Record<string, string> = {}): Instance {
  let isFirst = true;
  return through(newInstance({ TIMESTORE_KEY_PREFIX: `changed-${process.pid}`, ...overrides }), {
    reader: (client) => ({
      ...client,
      async open(request) {
        if (isFirst) await before();
        isFirst = false;
        return await client.open(request);
      },
    }),
  });
}

test('rows that are corrected between the cut of a page and its read are noticed, whatever the format', async () => {
  for (const format of ['json', 'ndjson', 'csv'] as const) {
    const dataset = await withRows();
    const { cursor } = await query(ctx, dataset, { ...byV, limit: 2 });
    const own = reading(() => change(dataset, { rows: where('id', 0), set: { v: 100 } }));
    const asked = queryBody.parse({ tableName: 'm', ...byV, limit: 2, cursor });
    const answer = queryTable(own, everyone, dataset, asked, { format, signal: new AbortController().signal });
    await expect(answer.then(textOf)).rejects.toMatchObject(expired);
  }
});

test('a page that is given out as it is read breaks off when rows were corrected meanwhile', async () => {
  const dataset = await withRows();
  const { cursor } = await query(ctx, dataset, { ...byV, limit: 2 });
  const own = reading(() => change(dataset, { rows: where('id', 0), set: { v: 100 } }), {
    TIMESTORE_QUERY_HELD_BYTES_MAX: '1',
  });
  const asked = queryBody.parse({ tableName: 'm', ...byV, limit: 20, cursor });
  const answer = await queryTable(own, everyone, dataset, asked, {
    format: 'json',
    signal: new AbortController().signal,
  });
  expect(answer.isComplete).toBe(false);
  await expect(textOf(answer)).rejects.toMatchObject(expired);
});

test('a page after a flush that set a row of the cut aside is refused', async () => {
  const dataset = await withRows();
  const table = await tableOf(ctx, dataset);
  await onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} ADD CONSTRAINT small CHECK v < 11`);
  const first = await query(ctx, dataset, { ...byV, limit: 4 });
  expect(await flush(ctx, dataset)).toMatchObject({ complete: true });
  await expect(query(ctx, dataset, { ...byV, limit: 4, cursor: first.cursor })).rejects.toMatchObject(expired);
});

test('a job that is repeated after its end leaves no mark behind', async () => {
  const dataset = await withRows();
  const job = await begin(dataset, { rows: where('id', 0) });
  await workUntilOver(ctx, job);
  // As by a function that was overtaken in its last step, and ends in the middle of it.
  const late = {
    ...job,
    progress: { ...job.progress, found: [{ lane: 0, partition: '20260501', rows: 1 }], isSent: true },
  };
  const dying = through(ctx, {
    clickhouse: (client) => ({ ...client, rows: () => Promise.reject(new Error('it ended')) }),
  });
  await expect(jobHandlers['delete-rows'](dying, late, ctx.now() + 5_000)).rejects.toThrow('it ended');
  const first = await query(ctx, dataset, { limit: 4 });
  expect((await query(ctx, dataset, { limit: 4, cursor: first.cursor })).rows).toHaveLength(4);
});
