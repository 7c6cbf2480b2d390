import { expect, test } from 'vitest';
import { deleteDataset } from '../../../src/catalog/datasets.ts';
import { recordDifference } from '../../../src/operations/takeover/differences.ts';
import { useWorker } from '../http/worker.ts';
import { workUntilOver } from '../jobs/support.ts';
import { at, newDataset, newInstance } from '../support.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `next-admin-${process.pid}` };
const call = useWorker(prefix);
const ctx = newInstance(prefix);

async function keyOf(dataset: string): Promise<string> {
  const scopes = { ingest: [dataset], query: [dataset], sql: [dataset], admin: [dataset] };
  return ((await (await call('/v1/admin/keys', { json: { name: 'of a test', scopes } })).json()) as { key: string })
    .key;
}

async function json<Body = Record<string, unknown>>(
  path: string,
  init: Parameters<typeof call>[1] = {},
): Promise<Body> {
  const answer = await call(path, init);
  const body = await answer.text();
  expect([answer.status < 300, body]).toEqual([true, expect.any(String)]);
  return (body === '' ? {} : JSON.parse(body)) as Body;
}

test('whoever administers the next dataset of a name sees nothing of the last one', async () => {
  const dataset = newDataset();
  const table = `/v1/admin/datasets/${dataset}/tables/m`;
  const key = await keyOf(dataset);
  const send = (as: string, secret: string) =>
    json(`/v1/datasets/${dataset}/tables/m/rows?ack=flushed`, { key: as, json: { timestamp: at(1), v: secret } });
  const jobOver = async (path: string, body: object) => {
    const { id } = await json<{ id: string }>(path, { key, json: body });
    await workUntilOver(ctx, { id });
    return id;
  };

  await send(key, 'old secret');
  const exported = await jobOver(`${table}/exports`, { format: 'ndjson' });
  const { objects } = await json<{
    objects: { url: string }[];
  }>(`/v1/admin/exports/${exported}`, { key });
  const address = objects[0]?.url ?? '';
  expect(await (await fetch(address)).text()).toContain('old secret');
  const upload = await json<{
    key: string;
    url: string;
  }>(`/v1/admin/datasets/${dataset}/uploads`, {
    key,
    json: { name: 'a.ndjson' },
  });
  const put = () => fetch(upload.url, { method: 'PUT', body: JSON.stringify({ timestamp: at(1), v: 'old secret' }) });
  expect((await put()).status).toBe(200);
  const imported = await jobOver(`${table}/imports`, { objects: [upload.key] });
  const deleted = await jobOver(`${table}/deletions`, {
    filters: { columns: [{ column: 'v', op: 'eq', value: 'old secret' }] },
  });
  await json(`/v1/sql/saved/${dataset}/q`, { method: 'PUT', key, json: { sql: "SELECT 'old secret' AS s FROM m" } });
  const compared = () =>
    recordDifference(ctx, dataset, {
      table: 'm',
      query: '{}',
      reason: 'rows',
      fields: [],
      originOnly: [{ v: 'old secret' }],
      hereOnly: [],
      counts: { origin: 1, here: 0, originOnly: 1, hereOnly: 0 },
    });
  await compared();
  await json('/v1/admin/audit', { key, json: { dataset, table: 'm' } });

  await deleteDataset(ctx, dataset, 0, undefined);
  const [drop] = await ctx.postgres.rows<{ id: string }>(
    `select id from jobs where dataset = $1 and kind = 'drop-dataset'`,
    [dataset],
  );
  expect(await workUntilOver(ctx, { id: drop?.id ?? '' })).toMatchObject({ result: { dropped: true } });

  // Somebody compared answers all the while.
  await compared();
  const next = await keyOf(dataset);
  // Keys of before are good for nothing here.
  expect((await call(`/v1/datasets/${dataset}/tables/m/rows`, { key, json: { timestamp: at(1) } })).status).toBe(401);
  await send(next, 'new');
  expect((await call(`/v1/datasets/${dataset}/query`, { key, json: { tableName: 'm' } })).status).toBe(401);
  expect((await fetch(address)).status).toBe(404);

  // One that a deployment from before lives were counted has left.
  const left = `left-of-${dataset}`;
  await ctx.postgres.rows(
    `insert into exports (id, dataset, "table", format, watermark, columns, rows, bytes, objects, actor)
     values ($1, $2, 'm', 'csv', '', '[]', 0, 0, '[]', 'x')`,
    [left, dataset],
  );
  await ctx.postgres.rows('update exports set dataset_life = dataset_life - 1 where id = $1', [left]);

  const lists = {
    exports: await json(`/v1/admin/exports?dataset=${dataset}`, { key: next }),
    jobs: await json('/v1/admin/jobs', { key: next }),
    queries: await json('/v1/sql/saved', { key: next }),
    comparisons: await json(`/v1/admin/datasets/${dataset}/comparisons`, { key: next }),
    audits: await json('/v1/admin/audit', { key: next }),
  };
  for (const [name, list] of Object.entries(lists)) expect(list[name], name).toEqual([]);
  const { lines } = await json<{ lines: { action: string }[] }>('/v1/admin/audit-log?outcome=done', { key: next });
  expect(lines.map(({ action }) => action).sort()).toEqual(['dataset.create', 'table.create']);
  for (const path of [
    `exports/${left}`,
    `exports/${exported}`,
    `jobs/${exported}`,
    `jobs/${imported}`,
    `imports/${imported}`,
    `jobs/${deleted}`,
    `jobs/${drop?.id}`,
  ]) {
    expect((await call(`/v1/admin/${path}`, { key: next })).status, path).toBe(404);
  }
  expect((await call(`/v1/admin/jobs/${imported}/retry`, { key: next, method: 'POST' })).status).toBe(404);
  expect((await call(`/v1/admin/exports/${exported}`, { key: next, method: 'DELETE' })).status).toBe(404);
  expect((await call(`/v1/sql/saved/${dataset}/q`, { key: next })).status).toBe(404);
  // What is put there through an address of before is not to be had under the next dataset's name.
  await put();
  expect((await call(`${table}/imports`, { key: next, json: { objects: [upload.key] } })).status).toBe(403);

  // Whoever may read everything still finds what was done.
  const log = await json<{ lines: { action: string }[] }>(`/v1/admin/audit-log?dataset=${dataset}`);
  expect(log.lines.map(({ action }) => action)).toEqual(expect.arrayContaining(['dataset.drop', 'job.delete-rows']));
  expect(await json(`/v1/admin/jobs/${deleted}`)).toMatchObject({ id: deleted, state: 'done' });
});

test('whoever asks for an import into a dataset that is not there yet follows it', async () => {
  const dataset = newDataset();
  const key = await keyOf(dataset);
  const object = `imports/${dataset}/one.ndjson`;
  await ctx.objects.put(object, JSON.stringify({ timestamp: at(1), v: 1 }));
  const path = `/v1/admin/datasets/${dataset}/tables/m/imports`;
  const { id } = await json<{ id: string }>(path, { key, json: { objects: [object] } });
  expect((await json(`/v1/admin/imports/${id}`, { key })).id).toBe(id);
  await workUntilOver(ctx, { id });
  expect(await json(`/v1/admin/imports/${id}`, { key })).toMatchObject({ id, state: 'done' });
  const { jobs } = await json<{ jobs: { id: string }[] }>('/v1/admin/jobs', { key });
  expect(jobs.map((job) => job.id)).toEqual([id]);
});
