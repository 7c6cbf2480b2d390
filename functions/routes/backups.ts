import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { slug } from '../../src/core/identifiers.ts';
import { createJob } from '../../src/jobs/job.ts';
import { backupKey, backupPrefix } from '../../src/operations/backup/backup.ts';
import { readBackup } from '../../src/operations/backup/restore.ts';
import { jobSchema, jobView, startJobs } from '../http/job-response.ts';
import { nextSchema, pageQuery, timeText } from '../http/paging.ts';
import { idParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const backupBody = z.strictObject({
  datasets: z.array(slug).min(1).max(1_000).optional().meta({ description: 'datasets to include; all by default' }),
});

const listedSchema = z.object({ id: z.string(), finishedAt: z.string() });
const backupSchema = z
  .object({
    id: z.string(),
    startedAt: z.string(),
    finishedAt: z.string(),
    tables: z.array(z.object({ dataset: z.string(), name: z.string(), rows: z.number() })),
  })
  .meta({ id: 'Backup' });

const path = '/v1/admin/backups';
const idForm = /^[A-Za-z0-9-]{1,64}$/;

export const backupRoutes = [
  route(
    {
      method: 'post',
      path,
      scope: 'admin',
      allDatasets: true,
      tag: 'Backups',
      summary: 'Create a backup',
      description:
        'Starts a job that copies every row acknowledged before it into the bucket, with the catalogue, the keys (as hashes) and ' +
        'the saved queries. Each partition is a Parquet object, which the job reads back. The id of the job is the id of the ' +
        'backup.',
      body: backupBody,
      responses: { 202: { description: 'The job', schema: jobSchema } },
      example: { body: { datasets: ['demo'] } },
    },
    async ({ c, ctx, body, json }) => {
      const job = await createJob(ctx, { kind: 'backup', dataset: null, table: null, request: body });
      startJobs(c);
      return json(202, jobView(job));
    },
  ),
  route(
    {
      method: 'get',
      path,
      scope: 'admin',
      allDatasets: true,
      tag: 'Backups',
      summary: 'List backups',
      description: 'Lists the complete backups in the bucket, by name. Needs no other store.',
      query: z.strictObject({ cursor: pageQuery.cursor }),
      responses: {
        200: {
          description: 'A page of backups',
          schema: z.object({ backups: z.array(listedSchema), next: nextSchema }),
        },
      },
      example: {},
    },
    async ({ ctx, query: { cursor }, json }) => {
      const after = cursor === undefined ? undefined : backupKey(cursor);
      const found = await ctx.objects.list(backupPrefix, { after, delimiter: '/' });
      const backups = found.map(({ key, modifiedAt_ms }) => {
        return { id: key.slice(backupPrefix.length).replace(/\.json$/, ''), finishedAt: timeText(modifiedAt_ms) };
      });
      return json(200, { backups, next: found.length < 1_000 ? null : (backups.at(-1)?.id ?? null) });
    },
  ),
  route(
    {
      method: 'get',
      path: `${path}/:id`,
      scope: 'admin',
      allDatasets: true,
      tag: 'Backups',
      summary: 'Get a backup',
      params: idParams('id of the backup'),
      responses: { 200: { description: 'The tables of the backup', schema: backupSchema } },
      example: { path: { id: 'daily-2026-05-01' } },
    },
    async ({ ctx, params, json }) => {
      const { id, startedAt, finishedAt, tables } = await readBackup(ctx, backupId(params.id));
      return json(200, { id, startedAt, finishedAt, tables });
    },
  ),
  route(
    {
      method: 'post',
      path: `${path}/:id/restore`,
      scope: 'admin',
      allDatasets: true,
      tag: 'Backups',
      summary: 'Restore a backup',
      description:
        'Starts a job that restores the tables of a backup. If it includes all datasets, also restores keys and saved queries. The ' +
        'job replaces no table: it fails before it restores anything if one of the tables exists. A table stays hidden until ' +
        'every partition is equal to the backup.',
      params: idParams('id of the backup'),
      body: backupBody,
      responses: { 202: { description: 'The job', schema: jobSchema } },
      example: { path: { id: 'daily-2026-05-01' }, body: { datasets: ['demo'] } },
    },
    async ({ c, ctx, params, body: { datasets }, json }) => {
      const backup = await readBackup(ctx, backupId(params.id));
      const request = { backup: backup.id, ...(datasets !== undefined && { datasets }) };
      const job = await createJob(ctx, { kind: 'restore', dataset: null, table: null, request });
      startJobs(c);
      return json(202, jobView(job));
    },
  ),
];

/** Throws ApiError `not-found` for a text that cannot be an id. */
function backupId(text: string): string {
  if (idForm.test(text)) return text;
  throw new ApiError('not-found', `No complete backup ${text.slice(0, 64)} found.`);
}
