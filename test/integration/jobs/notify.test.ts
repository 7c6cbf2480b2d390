import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { deleteTable } from '../../../src/catalog/change-table.ts';
import { createJob, type Job, listJobs, readJob, retryJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { scheduleExport } from '../../../src/operations/export/export.ts';
import { listExports } from '../../../src/operations/export/published.ts';
import { exportDue, listSchedules, removeSchedule, setSchedule } from '../../../src/operations/export/schedule.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import type { DeliveryAttempt } from '../../../src/operations/webhooks/notify.ts';
import { createWebhook, listWebhooks, removeWebhook } from '../../../src/operations/webhooks/webhook.ts';
import { at, newDataset, newInstance, send } from '../support.ts';
import { workUntilOver } from './support.ts';

const ctx = newInstance({ TIMESTORE_KEY_PREFIX: `notify-${process.pid}` });

/** The receiver of the webhooks. */
const heard: { headers: IncomingHttpHeaders; body: string }[] = [];
let answers: number[] = [];
let url = '';
const server = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => {
    heard.push({ headers: request.headers, body: Buffer.concat(parts).toString() });
    const status = answers.shift() ?? 200;
    response.writeHead(status, status === 302 ? { location: '/elsewhere' } : {}).end('whatever');
  });
});
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
});
afterAll(() => {
  server.close();
});

const all = { events: ['export.published' as const], datasets: null };

async function exportOf(dataset: string): Promise<Job> {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  return await workUntilOver(ctx, await scheduleExport(ctx, dataset, 'm', { format: 'csv' }, undefined));
}

/** Without waiting as long as a delivery does between attempts. */
async function deliver(webhook: string, own = ctx): Promise<Job> {
  await expect
    .poll(async () => {
      await ctx.postgres.rows(`update jobs set due_at = now() where kind = 'notify' and request->>'webhook' = $1`, [
        webhook,
      ]);
      await runDueJobs(own, jobHandlers, own.now() + 1_000);
      return (await listJobs(ctx, { webhook }, 1))[0]?.state;
    })
    .toMatch(/done|failed/);
  const [job] = await listJobs(ctx, { webhook }, 1);
  return job as Job;
}

const statuses = ({ result, progress }: Job) =>
  ((result?.attempts ?? progress.attempts) as DeliveryAttempt[]).map(({ status }) => status);

test('a webhook gets a signed notice of a published export, again until it succeeds', async () => {
  const [dataset, other] = [newDataset(), newDataset()];
  const webhook = await createWebhook(ctx, { ...all, url, datasets: [dataset] });
  const elsewhere = await createWebhook(ctx, { ...all, url, datasets: [other] });
  answers = [500, 302, 200];
  heard.length = 0;
  const exported = await exportOf(dataset);
  const job = await deliver(webhook.id);
  expect([job.state, statuses(job)]).toEqual(['done', [500, 302, 200]]);
  expect(await listJobs(ctx, { webhook: elsewhere.id }, 10)).toEqual([]);
  expect(heard).toHaveLength(3);
  expect(new Set(heard.map(({ headers }) => headers['webhook-id']))).toEqual(new Set([`${exported.id}-${webhook.id}`]));
  for (const { headers, body } of heard) {
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
    const key = Buffer.from(webhook.secret.slice('whsec_'.length), 'base64');
    expect(headers['webhook-signature']).toBe(`v1,${createHmac('sha256', key).update(signed).digest('base64')}`);
    expect(Math.abs(Date.now() / 1000 - Number(headers['webhook-timestamp']))).toBeLessThan(60);
  }
  const event = JSON.parse(heard[0]?.body ?? '') as { type: string; data: object };
  expect(event).toMatchObject({
    type: 'export.published',
    data: { id: exported.id, dataset, table: 'm', rows: 1, objects: [{ day: '2026-05-01' }] },
  });
  expect(heard[0]?.body).not.toContain(webhook.secret);
  await removeWebhook(ctx, webhook.id);
  await removeWebhook(ctx, elsewhere.id);
});

test('a webhook that is unavailable, gone or deleted is given up, and retried on request', async () => {
  const dataset = newDataset();
  const away = await createWebhook(ctx, { ...all, url: 'http://127.0.0.1:9/', datasets: [dataset] });
  const gone = await createWebhook(ctx, { ...all, url, datasets: [dataset] });
  const deleted = await createWebhook(ctx, { ...all, url, datasets: [dataset] });
  answers = [410];
  await ctx.postgres.rows(`update webhooks set url = $2 where id = $1`, [deleted.id, 'http://127.0.0.1:9/']);
  await exportOf(dataset);
  await removeWebhook(ctx, deleted.id);
  const lost = await deliver(away.id);
  expect([lost.state, statuses(lost).length, lost.error]).toEqual([
    'failed',
    9,
    expect.stringContaining('is unreachable'),
  ]);
  const refused = await deliver(gone.id);
  expect([refused.state, statuses(refused), refused.error]).toEqual([
    'failed',
    [410],
    expect.stringContaining('status 410'),
  ]);
  expect(ctx.events.filter(({ job }) => job === refused.id)).toMatchObject([
    { outcome: 'failed', error: expect.stringContaining('status 410') },
  ]);
  expect((await deliver(deleted.id)).error).toMatch(/Webhook .* not found/);
  await retryJob(ctx, refused.id);
  expect([(await deliver(gone.id)).state, statuses(await readJob(ctx, refused.id))]).toEqual(['done', [410, 200]]);
  expect((await listWebhooks(ctx)).map(({ id }) => id)).toEqual(expect.arrayContaining([away.id, gone.id]));
  expect(JSON.stringify(await listWebhooks(ctx))).not.toContain('whsec_');
  for (const { id } of [away, gone]) await removeWebhook(ctx, id);
});

test('an address that the deployment allows no more, or never did, is not asked', async () => {
  const dataset = newDataset();
  const webhook = await createWebhook(ctx, { ...all, url, datasets: [dataset] });
  const request = { webhook: webhook.id, event: { type: 'test' } };
  await createJob(ctx, { kind: 'notify', dataset: null, table: null, request });
  heard.length = 0;
  const prefix = { TIMESTORE_KEY_PREFIX: `notify-${process.pid}`, TIMESTORE_ADMIN_KEY: 'a-key-of-its-own' };
  const deployed = newInstance({ ...prefix, TIMESTORE_LOCAL: 'false' });
  const job = await deliver(webhook.id, deployed);
  expect([job.state, statuses(job), job.error]).toEqual(['failed', [], expect.stringContaining('not sent')]);
  expect(heard).toEqual([]);
  for (const address of [url, 'https://10.0.0.1/', 'https://localhost/']) {
    await expect(createWebhook(deployed, { ...all, url: address })).rejects.toMatchObject({ code: 'invalid-request' });
  }
  await retryJob(ctx, job.id);
  expect((await deliver(webhook.id)).state).toBe('done');
  await removeWebhook(ctx, webhook.id);
});

test('a schedule exports whole days once, makes up for what was missed, and goes on without a table that is gone', async () => {
  const dataset = newDataset();
  const day_ms = 86_400_000;
  const today_ms = Math.floor(Date.now() / day_ms) * day_ms;
  const daysAgo = (n: number) => new Date(today_ms - n * day_ms + 1_000).toISOString();
  await send(
    ctx,
    dataset,
    [0, 1, 2, 3, 4].map((n) => ({ timestamp: daysAgo(n), v: n })),
  );
  const set = await setSchedule(ctx, { dataset, table: 'm', hour: 3, days: 2, format: 'csv', columns: null });
  expect(set.nextAt_ms).toBeGreaterThan(Date.now());
  expect(set.nextAt_ms).toBeLessThanOrEqual(Date.now() + day_ms);
  expect(new Date(set.nextAt_ms).getUTCHours()).toBe(3);
  expect(await exportDue(ctx)).toBe(0);
  // As if the clock had stood still for two days.
  const missed_ms = today_ms - day_ms + 3 * 3_600_000;
  await ctx.postgres.rows('update export_schedules set next_at = to_timestamp($2::float8 / 1000) where dataset = $1', [
    dataset,
    missed_ms,
  ]);
  await Promise.all([exportDue(ctx), exportDue(newInstance({ TIMESTORE_KEY_PREFIX: `notify-${process.pid}` }))]);
  await exportDue(ctx);
  const jobs = await listJobs(ctx, { dataset, kind: 'export' }, 10);
  const due = Date.now() >= today_ms + 3 * 3_600_000 ? 2 : 1;
  expect(jobs).toHaveLength(due);
  for (const job of jobs) await workUntilOver(ctx, job);
  const exported = await listExports(ctx, { dataset }, 10);
  const first = exported.find(({ id }) => id.endsWith(new Date(missed_ms).toISOString().slice(0, 13)));
  expect(first?.objects.map(({ day }) => day)).toEqual([3, 2].map((n) => daysAgo(n).slice(0, 10)));
  expect((await listSchedules(ctx, [dataset]))[0]?.nextAt_ms).toBeGreaterThan(Date.now());

  await deleteTable(ctx, dataset, 'm', 3_600);
  await ctx.postgres.rows(`update export_schedules set next_at = now() - interval '1 minute' where dataset = $1`, [
    dataset,
  ]);
  const own = newInstance({ TIMESTORE_KEY_PREFIX: `notify-${process.pid}` });
  expect(await exportDue(own)).toBe(0);
  expect(own.events.map(({ event }) => event)).toContain('export-skipped');
  expect(await removeSchedule(ctx, dataset, 'm')).toBe(true);
  expect(await removeSchedule(ctx, dataset, 'm')).toBe(false);
});
