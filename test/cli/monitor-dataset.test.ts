import { expect } from 'vitest';
import { test } from '../integration/fixtures.ts';
import { useWorker } from '../integration/http/worker.ts';
import { useCli } from './support.ts';

const call = useWorker();
const cli = useCli();
const env = () => ({ TIMESTORE_URL: call.url(), TIMESTORE_KEY: 'local-admin' });
const run = (...args: string[]) => cli.run(args, env());

test('a dataset is set up, validated, asked and described at the command line', async ({ dataset }) => {
  const on = ['--dataset', dataset];
  const missing = await run('monitor', 'validate', ...on);
  expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('service_logs: table is missing') });
  const made = await run('monitor', 'setup', ...on);
  expect(made).toMatchObject({ code: 0, stdout: '+ service_status\n+ service_metrics\n+ service_logs\n', stderr: '' });
  expect(await run('monitor', 'setup', ...on)).toMatchObject({ code: 0, stdout: 'Nothing to change.\n' });
  const valid = await run('monitor', 'validate', ...on);
  expect(valid).toMatchObject({ code: 0, stderr: '' });
  expect(valid.stdout).toMatch(/service_status_summary │ view/);
  const columns = await run('monitor', 'validate', '--columns', ...on);
  expect(columns.stdout).toMatch(/service_metrics +│ tags +│ Map\(LowCardinality\(String\), String\)/);

  const row = { service_id: 'api', timestamp: new Date().toISOString(), status_code: 2 };
  const sent = await call(`/v1/datasets/${dataset}/tables/service_status/rows`, { json: row });
  expect(sent.status).toBe(202);
  const asked = `SELECT service_id, countIf(status_code = 2) / count() * 100 as failure_rate, count() as total_checks
FROM \`${dataset}\`.service_status WHERE timestamp >= now() - INTERVAL 1 HOUR GROUP BY service_id HAVING failure_rate > 5 ORDER BY failure_rate DESC;`;
  const answer = await run('sql', asked, '--json');
  expect(answer).toMatchObject({ code: 0 });
  expect(JSON.parse(answer.stdout).rows).toEqual([{ service_id: 'api', failure_rate: 100, total_checks: 1 }]);
  const status = await run('monitor', 'status', ...on, '--json');
  expect(JSON.parse(status.stdout)).toMatchObject({
    tables: expect.arrayContaining([expect.objectContaining({ name: 'service_status', rows: 0, pendingRows: 1 })]),
  });

  await run('tables', 'change', `${dataset}.service_logs`, '--retention-days', '30');
  expect(await run('monitor', 'validate', ...on)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('service_logs: retention is 30 days, not 90 days'),
  });
  expect(await run('monitor', 'setup', ...on)).toMatchObject({ stdout: '~ service_logs: retention 90 days\n' });
  expect(await run('monitor', 'validate', ...on)).toMatchObject({ code: 0 });
});

test('sizes and differences are for keys of the dataset, and sizes for keys without a row filter', async ({
  dataset,
}) => {
  expect((await call(`/v1/monitor/setup?dataset=${dataset}`, { method: 'POST' })).status).toBe(200);
  const keyFor = async (body: object) => {
    const made = await call('/v1/admin/keys', { json: { name: 'reader', ...body } });
    expect(made.status).toBe(201);
    return ((await made.json()) as { key: string }).key;
  };
  const rowFilter = { column: 'service_id', value: 'api' };
  const reader = await keyFor({ scopes: { query: [dataset] } });
  const filtered = await keyFor({ scopes: { query: [dataset] }, rowFilter });
  const other = await keyFor({ scopes: { query: ['elsewhere'] } });
  const statusOf = async (path: string, key: string, method = 'GET') =>
    (await call(`/v1/monitor/${path}?dataset=${dataset}`, { key, method })).status;
  for (const path of ['schema', 'storage']) {
    expect(await statusOf(path, reader), path).toBe(200);
    expect(await statusOf(path, other), path).toBe(404);
  }
  expect(await statusOf('storage', filtered)).toBe(403);
  expect(await statusOf('setup', reader, 'POST')).toBe(403);
  expect((await call('/v1/monitor/storage?dataset=nowhere')).status).toBe(404);
});
