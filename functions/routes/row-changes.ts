import type { Context } from 'hono';
import * as z from 'zod';
import { scheduleRowChange } from '../../src/operations/row-changes/change-rows.ts';
import { type RowsChange, rowsSchema, valuesSchema } from '../../src/operations/row-changes/changed-rows.ts';
import { clientKey, idempotencyHeader } from '../http/acknowledge.ts';
import { type App, routes } from '../http/app.ts';
import { requireScope } from '../http/auth.ts';
import { parseBody } from '../http/body.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { requireSlug } from '../http/params.ts';
import { jobSchema, jobView, workBehind } from './jobs.ts';

const correctBody = z.strictObject({ rows: rowsSchema, set: valuesSchema });

const path = '/v1/admin/datasets/:dataset/tables/:table';
const errors = ['not-found', 'key-reused'] as const;
const headers = idempotencyHeader(
  'the same key and body is the same job, however often it is sent, until the table is dropped',
);
const rules =
  'Rows acknowledged after this answer are not touched. What waits in the hot buffer is flushed first; the rows are counted and put on ' +
  'record, and then ClickHouse changes them. Readers may see some of them changed before others until the job is done.';

export const changeRowsRoutes = routes()
  .post(
    `${path}/deletions`,
    openApiRoute({
      summary: 'Delete rows',
      description: `A job that deletes the rows that match. ${rules} Its receipt says how many there were, by lane and partition.`,
      tag: 'Jobs',
      path: ['dataset', 'table'],
      headers,
      body: { required: true, types: { 'application/json': rowsSchema } },
      answers: { 202: { description: 'The job', schema: jobSchema } },
      errors,
      example: {
        path: { dataset: 'demo', table: 'readings' },
        body: { filters: { columns: [{ column: 'sensor', op: 'eq', value: 'c' }] } },
      },
    }),
    requireScope('admin'),
    async (c) => {
      const rows = await parseBody(c, rowsSchema, { isNulKept: true });
      return c.json(await begin(c, { rows }), 202);
    },
  )
  .post(
    `${path}/corrections`,
    openApiRoute({
      summary: 'Correct rows',
      description: `A job that sets fields of the rows that match, but not those of the sort key. ${rules}`,
      tag: 'Jobs',
      path: ['dataset', 'table'],
      headers,
      body: { required: true, types: { 'application/json': correctBody } },
      answers: { 202: { description: 'The job', schema: jobSchema } },
      errors,
      example: {
        path: { dataset: 'demo', table: 'readings' },
        body: {
          rows: { timeRange: { start: '2026-05-01T00:00:00Z', end: '2026-05-02T00:00:00Z' } },
          set: { celsius: 20.5 },
        },
      },
    }),
    requireScope('admin'),
    async (c) => {
      const body = await parseBody(c, correctBody, { isNulKept: true });
      return c.json(await begin(c, body), 202);
    },
  );

async function begin(c: Context<App>, request: RowsChange) {
  const ctx = c.get('ctx');
  const [dataset, table] = [
    requireSlug('dataset', c.req.param('dataset') ?? ''),
    requireSlug('table', c.req.param('table') ?? ''),
  ];
  const key = clientKey(c.req.header('idempotency-key'));
  const job = await scheduleRowChange(ctx, { dataset, table, request, key });
  workBehind(c);
  return jobView(job);
}
