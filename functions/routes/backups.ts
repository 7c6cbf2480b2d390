import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { slug } from '../../src/core/identifiers.ts';
import { createJob } from '../../src/jobs/job.ts';
import { backupKey, backupPrefix } from '../../src/operations/backup/backup.ts';
import { readBackup } from '../../src/operations/backup/restore.ts';
import { routes } from '../http/app.ts';
import { requireAll } from '../http/auth.ts';
import { parseBody } from '../http/body.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { nextSchema, pageQuery, queryAs, timeText } from '../http/paging.ts';
import { jobSchema, jobView, workBehind } from './jobs.ts';

const body = z.strictObject({
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

export const backupRoutes = routes()
  .post(
    path,
    openApiRoute({
      summary: 'Back up',
      description:
        'A job that copies everything acknowledged before it into the bucket: each partition as Parquet that is read back, and ' +
        'what the catalogue says, keys (as hashes) and saved queries included. Its id names the backup.',
      tag: 'Backups',
      body: { required: true, types: { 'application/json': body } },
      answers: { 202: { description: 'The job', schema: jobSchema } },
      example: { body: { datasets: ['demo'] } },
    }),
    requireAll('admin'),
    async (c) => {
      const request = await parseBody(c, body);
      const job = await createJob(c.get('ctx'), { kind: 'backup', dataset: null, table: null, request });
      workBehind(c);
      return c.json(jobView(job), 202);
    },
  )
  .get(
    path,
    openApiRoute({
      summary: 'List backups',
      description: 'Those in the bucket that are whole, by name. It needs nothing but the bucket.',
      tag: 'Backups',
      query: z.strictObject({ cursor: pageQuery.cursor }),
      answers: {
        200: { description: 'A page', schema: z.object({ backups: z.array(listedSchema), next: nextSchema }) },
      },
      example: {},
    }),
    requireAll('admin'),
    async (c) => {
      const { cursor } = queryAs(c, z.strictObject({ cursor: pageQuery.cursor }));
      const after = cursor === undefined ? undefined : backupKey(cursor);
      const found = await c.get('ctx').objects.list(backupPrefix, { after, delimiter: '/' });
      const backups = found.map(({ key, modifiedAt_ms }) => {
        return { id: key.slice(backupPrefix.length).replace(/\.json$/, ''), finishedAt: timeText(modifiedAt_ms) };
      });
      return c.json({ backups, next: found.length < 1_000 ? null : (backups.at(-1)?.id ?? null) });
    },
  )
  .get(
    `${path}/:id`,
    openApiRoute({
      summary: 'Read a backup',
      tag: 'Backups',
      parameters: { id: 'of the backup' },
      answers: { 200: { description: 'What is in it', schema: backupSchema } },
      errors: ['not-found'],
      example: { path: { id: 'daily-2026-05-01' } },
    }),
    requireAll('admin'),
    async (c) => {
      const { id, startedAt, finishedAt, tables } = await readBackup(c.get('ctx'), backupId(c.req.param('id')));
      return c.json({ id, startedAt, finishedAt, tables });
    },
  )
  .post(
    `${path}/:id/restore`,
    openApiRoute({
      summary: 'Restore a backup',
      description:
        'A job that brings its tables back, with keys and saved queries if it is of all datasets. It replaces none: tables that ' +
        'are there already fail it before it begins. Each table is hidden until every partition compares equal with the backup.',
      tag: 'Backups',
      parameters: { id: 'of the backup' },
      body: { required: true, types: { 'application/json': body } },
      answers: { 202: { description: 'The job', schema: jobSchema } },
      errors: ['not-found'],
      example: { path: { id: 'daily-2026-05-01' }, body: { datasets: ['demo'] } },
    }),
    requireAll('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const { datasets } = await parseBody(c, body);
      const backup = await readBackup(ctx, backupId(c.req.param('id')));
      const request = { backup: backup.id, ...(datasets !== undefined && { datasets }) };
      const job = await createJob(ctx, { kind: 'restore', dataset: null, table: null, request });
      workBehind(c);
      return c.json(jobView(job), 202);
    },
  );

function backupId(text: string): string {
  if (idForm.test(text)) return text;
  throw new ApiError('not-found', `There is no whole backup ${text.slice(0, 64)}.`);
}
