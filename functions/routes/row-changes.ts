import type { Context } from 'hono';
import * as z from 'zod';
import { scheduleRowChange } from '../../src/operations/row-changes/change-rows.ts';
import { type RowsChange, rowsSchema, valuesSchema } from '../../src/operations/row-changes/changed-rows.ts';
import { clientKey, idempotencyHeader } from '../http/acknowledge.ts';
import type { App } from '../http/app.ts';
import { jobSchema, jobView, startJobs } from '../http/job-response.ts';
import { tableParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const correctBody = z.strictObject({ rows: rowsSchema, set: valuesSchema });

const path = '/v1/admin/datasets/:dataset/tables/:table';
const errors = ['key-reused'] as const;
const headers = idempotencyHeader('the same key with the same body is the same job, until the table is dropped');
const rules =
  'Rows acknowledged after the response are not changed. The job flushes the hot buffer, records the number of matching rows, and ' +
  'then ClickHouse changes them. Until the job is done, queries may see some of the rows changed and others unchanged.';

export const rowChangeRoutes = [
  route(
    {
      method: 'post',
      path: `${path}/deletions`,
      scope: 'admin',
      tag: 'Jobs',
      summary: 'Delete rows',
      description: `Starts a job that deletes all matching rows. ${rules} The receipt contains their number by lane and partition.`,
      params: tableParams,
      headers,
      body: rowsSchema,
      isNulKept: true,
      responses: { 202: { description: 'The job', schema: jobSchema } },
      errors,
      example: {
        path: { dataset: 'demo', table: 'readings' },
        body: { filters: { columns: [{ column: 'sensor', op: 'eq', value: 'c' }] } },
      },
    },
    async ({ c, params, headers, body, json }) => {
      const key = headers['Idempotency-Key'];
      return json(202, await scheduleJob({ c, params, request: { rows: body }, key }));
    },
  ),
  route(
    {
      method: 'post',
      path: `${path}/corrections`,
      scope: 'admin',
      tag: 'Jobs',
      summary: 'Correct rows',
      description: `Starts a job that sets fields of all matching rows, except fields of the sort key. ${rules}`,
      params: tableParams,
      headers,
      body: correctBody,
      isNulKept: true,
      responses: { 202: { description: 'The job', schema: jobSchema } },
      errors,
      example: {
        path: { dataset: 'demo', table: 'readings' },
        body: {
          rows: { timeRange: { start: '2026-05-01T00:00:00Z', end: '2026-05-02T00:00:00Z' } },
          set: { celsius: 20.5 },
        },
      },
    },
    async ({ c, params, headers, body, json }) => {
      const key = headers['Idempotency-Key'];
      return json(202, await scheduleJob({ c, params, request: body, key }));
    },
  ),
];

type Change = {
  c: Context<App>;
  params: { dataset: string; table: string };
  request: RowsChange;
  key: string | undefined;
};

async function scheduleJob({ c, params, request, key }: Change) {
  const job = await scheduleRowChange(c.get('ctx'), { ...params, request, key: clientKey(key) });
  startJobs(c);
  return jobView(job);
}
