import { scheduleImportVerification } from '../../src/operations/import/verify.ts';
import { clientKey, idempotencyHeader } from '../http/acknowledge.ts';
import { importBody, requireFormat, requireOwnObjects } from '../http/import-request.ts';
import { jobSchema, jobView, startJobs } from '../http/job-response.ts';
import { tableParams } from '../http/params.ts';
import { route } from '../http/route.ts';

export const tableComparisonRoutes = [
  route(
    {
      method: 'post',
      path: '/v1/admin/datasets/:dataset/tables/:table/comparisons',
      scope: 'admin',
      tag: 'Imports',
      summary: 'Compare objects with a table',
      description:
        'Starts a job that compares objects with every row acknowledged before the request. The job reads the objects with other ' +
        'readers than imports and inserts. It compares the number of rows and, for each day and column, the number of values, ' +
        'minimum, maximum, sum and a hash of all values. Its receipt lists the days and rows that differ.',
      params: tableParams,
      headers: idempotencyHeader('the same key with the same body is the same comparison, until the table is dropped'),
      body: importBody.pick({ format: true, objects: true, timeRange: true, columns: true, rename: true }),
      responses: { 202: { description: 'The job', schema: jobSchema } },
      errors: ['key-reused', 'forbidden'],
      example: { path: { dataset: 'demo', table: 'readings' }, body: { objects: ['imports/demo/2025.parquet'] } },
    },
    async ({ c, ctx, key, params: { dataset, table }, headers, body, json }) => {
      const { format, ...rest } = body;
      await requireOwnObjects(ctx, key, dataset, rest.objects);
      const request = { ...rest, format: format ?? requireFormat(rest.objects) };
      const idempotencyKey = clientKey(headers['Idempotency-Key']);
      const job = await scheduleImportVerification(ctx, dataset, table, request, idempotencyKey);
      startJobs(c);
      return json(202, jobView(job));
    },
  ),
];
