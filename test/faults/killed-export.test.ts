import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, describe, expect, test } from 'vitest';
import { listJobs } from '../../src/jobs/job.ts';
import { exportFolder, scheduleExport } from '../../src/operations/export/export.ts';
import { listExports } from '../../src/operations/export/published.ts';
import { createWebhook } from '../../src/operations/webhooks/webhook.ts';
import { at, type Instance, newDataset, newInstance, send } from '../integration/support.ts';
import { deaths, usePrograms } from './killed-jobs.ts';

/** Whoever is told: the events that came, by their ids. */
const heard: string[] = [];
const server = createServer((request, response) => {
  heard.push(String(request.headers['webhook-id']));
  request.resume().on('end', () => response.end());
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
const { newEnv, work, goOn } = usePrograms('killed-export');
afterAll(() => {
  server.close();
});

const rows = [
  { timestamp: at(1), v: 1 },
  { timestamp: at(2), v: 2 },
  { timestamp: at(1, 2), v: 3 },
];

/** An export of two days, some of it in the buffer still, that somebody wants to be told of. */
async function begun(ctx: Instance) {
  const dataset = newDataset();
  await send(ctx, dataset, rows);
  const webhook = await createWebhook(ctx, { url, events: ['export.published'], datasets: [dataset] });
  const job = await scheduleExport(ctx, dataset, 'm', { format: 'ndjson' }, undefined);
  return { dataset, job, webhook };
}

async function rehearsal(): Promise<string[]> {
  const env = newEnv();
  await begun(newInstance(env));
  return (await work(env)).calls;
}

// The first may meet scripts that Redis has not seen.
await rehearsal();
const calls = await rehearsal();
const points = deaths(calls).filter((_, i) => process.env.FAULT_POINTS === 'all' || i % 3 === 0);

describe('an export whose process is killed at any call: another process continues, and it is exact, published once and notified once', () => {
  test('it calls every store on the way', () => {
    for (const store of ['redis', 'clickhouse', 'postgres', 'objects']) {
      expect(calls.some((name) => name.startsWith(`${store}.`))).toBe(true);
    }
  });

  test.concurrent.each(points)('$name', async ({ fault }) => {
    const env = newEnv();
    const ctx = newInstance(env);
    const { dataset, job, webhook } = await begun(ctx);
    expect((await work(env, fault)).signal).toBe('SIGKILL');

    expect(await goOn(env, job.id)).toMatchObject({ state: 'done', result: { objects: 2, rows: 3 } });
    const delivery = `${job.id}-${webhook.id}`;
    expect((await goOn(env, delivery)).state).toBe('done');
    const jobs = await listJobs(ctx, { dataset }, 10);
    expect(jobs.map(({ id }) => id).sort()).toEqual([job.id, delivery].sort());
    expect(new Set(heard.filter((id) => id.startsWith(job.id)))).toEqual(new Set([delivery]));

    const [found, ...more] = await listExports(ctx, { dataset }, 10);
    expect(more).toEqual([]);
    expect(found).toMatchObject({ id: job.id, rows: 3, objects: [{ rows: 2 }, { rows: 1 }] });
    const folder = exportFolder(dataset, 'm', job.id);
    const keys = ['2026-05-01.ndjson', '2026-05-02.ndjson'].map((name) => folder + name);
    expect((await ctx.objects.list(folder)).map(({ key }) => key)).toEqual([...keys, `${folder}manifest.json`]);
    const written = await Promise.all(keys.map((key) => ctx.objects.get(key)));
    const lines = written.join('').trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual(rows);
  });
});
