import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, describe, expect, inject, test } from 'vitest';
import { beginExport, exportFolder } from '../../src/export/export.ts';
import { listExports } from '../../src/export/published.ts';
import { type Job, listJobs, readJob } from '../../src/jobs/job.ts';
import { jobSteps } from '../../src/jobs/steps.ts';
import { workOnJobs } from '../../src/jobs/work.ts';
import { createWebhook } from '../../src/webhooks/webhook.ts';
import { at, type Instance, newDataset, newInstance, send } from '../integration/support.ts';
import type { Fault } from './injection.ts';

/** Whoever is told: the events that came, by their ids. */
const heard: string[] = [];
const server = createServer((request, response) => {
  heard.push(String(request.headers['webhook-id']));
  request.resume().on('end', () => response.end());
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
const compiled = mkdtempSync(join(tmpdir(), 'timestore-compiled-'));
afterAll(() => {
  server.close();
  rmSync(compiled, { recursive: true, force: true });
});

let prefixes = 0;

/** A buffer of its own, whose jobs nobody else works on, with the claims and leases of a dead process soon over. */
function newEnv(): Record<string, string> {
  prefixes += 1;
  const prefix = `killed-${process.pid}-${prefixes}`;
  return { TIMESTORE_KEY_PREFIX: prefix, TIMESTORE_JOB_CLAIM_MS: '600', TIMESTORE_LEASE_MS: '600' };
}

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
  const job = await beginExport(ctx, dataset, 'm', { format: 'ndjson' }, undefined);
  return { dataset, job, webhook };
}

/** A process that works on jobs until it is killed at a call; without a fault it ends by itself and tells its calls. */
async function work(env: Record<string, string>, fault?: Fault): Promise<{ signal: string | null; calls: string[] }> {
  const root = join(import.meta.dirname, '..', '..');
  const loader = join(root, 'local', 'text-modules.ts');
  const program = join(import.meta.dirname, 'jobs-program.ts');
  const args = fault === undefined ? [] : [JSON.stringify(fault)];
  const child = spawn(process.execPath, ['--import', loader, program, ...args], {
    // All of them are of the same sources, which are compiled once.
    env: { ...process.env, ...inject('env'), ...env, NODE_COMPILE_CACHE: compiled },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<string | null>((resolve) => child.once('close', (_, signal) => resolve(signal)));
  const [said, signal] = await Promise.all([text(child.stdout), ended]);
  return { signal, calls: signal === null ? (JSON.parse(said) as string[]) : [] };
}

async function rehearsal(): Promise<string[]> {
  const env = newEnv();
  await begun(newInstance(env));
  return (await work(env)).calls;
}

// The first may meet scripts that Redis has not seen.
await rehearsal();
const calls = await rehearsal();
/** Before the first call, and after each: which is before the next, for nothing that anybody sees is done in between. */
const points = [
  { name: `before 0 ${calls[0]}`, fault: { call: 0, kind: 'dies before' as const } },
  ...calls.map((name, call) => ({ name: `after ${call} ${name}`, fault: { call, kind: 'dies after' as const } })),
];

/** As another process would, that knows nothing of the one before. */
async function goOn(env: Record<string, string>, id: string): Promise<Job> {
  const ctx = newInstance(env);
  for (;;) {
    const job = await readJob(ctx, id);
    if (!['queued', 'running'].includes(job.state)) return job;
    await workOnJobs(ctx, jobSteps, ctx.now() + 5_000);
  }
}

describe('an export whose process is killed at any call: another goes on, it is exact, published once, and told of once', () => {
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
