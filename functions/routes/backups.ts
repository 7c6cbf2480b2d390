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
  datasets: z.array(slug).min(1).max(1_000).optional().meta({ description: 'these alone; all if left out' }),
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
      summary: 'Back up',
      description:
        'A job that copies everything acknowledged before it into the bucket: each partition as Parquet that is read back, and ' +
        'what the catalogue says, keys (as hashes) and saved queries included. Its id names the backup.',
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
      description: 'Those in the bucket that are whole, by name. It needs nothing but the bucket.',
      query: z.strictObject({ cursor: pageQuery.cursor }),
      responses: {
        200: { description: 'A page', schema: z.object({ backups: z.array(listedSchema), next: nextSchema }) },
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
      summary: 'Read a backup',
      params: idParams('of the backup'),
      responses: { 200: { description: 'What is in it', schema: backupSchema } },
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
        'A job that brings its tables back, with keys and saved queries if it is of all datasets. It replaces none: tables that ' +
        'are there already fail it before it begins. Each table is hidden until every partition compares equal with the backup.',
      params: idParams('of the backup'),
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

function backupId(text: string): string {
  if (idForm.test(text)) return text;
  throw new ApiError('not-found', `There is no whole backup ${text.slice(0, 64)}.`);
}
