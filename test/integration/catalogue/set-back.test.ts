import { expect } from 'vitest';
import { changeTable, deleteTable, requireTable } from '../../../src/catalog/change-table.ts';
import { changeDataset } from '../../../src/catalog/datasets.ts';
import { readTable } from '../../../src/catalog/find-table.ts';
import { readMode } from '../../../src/catalog/read-routing.ts';
import type { Context } from '../../../src/create-context.ts';
import { authenticate } from '../../../src/keys/find-key.ts';
import { createKey, revokeKey } from '../../../src/keys/manage-keys.ts';
import { test } from '../fixtures.ts';
import { workUntilOver } from '../jobs/support.ts';
import { at, expectStored, flush, newDataset, newInstance, query, send, tableOf } from '../support.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `set-back-${process.pid}` };
const ctx = newInstance(prefix);

/** In an order in which they may be filled. */
const recorded = {
  datasets: 'name',
  tables: 'dataset',
  schema_versions: 'dataset',
  lanes: 'dataset',
  manifests: 'dataset',
} as const;

/** The catalogue's rows of a dataset as they are now, and a function that puts them back. */
async function remembered({ postgres }: Context, dataset: string): Promise<() => Promise<void>> {
  const names = Object.keys(recorded) as (keyof typeof recorded)[];
  const kept = await Promise.all(
    names.map((name) =>
      postgres.rows<{ row: object }>(`select to_jsonb(t) as row from ${name} t where ${recorded[name]} = $1`, [
        dataset,
      ]),
    ),
  );
  return async () => {
    await postgres.transaction([
      ['delete from manifest_partitions where manifest_id in (select id from manifests where dataset = $1)', [dataset]],
      ...names
        .toReversed()
        .map((name): [string, unknown[]] => [`delete from ${name} where ${recorded[name]} = $1`, [dataset]]),
      ...names.map((name, i): [string, unknown[]] => [
        `insert into ${name} select * from jsonb_populate_recordset(null::${name}, $1::jsonb)`,
        [JSON.stringify(kept[i]?.map(({ row }) => row))],
      ]),
    ]);
  };
}

const alarms = (instance: typeof ctx) => instance.events.filter(({ event }) => event === 'catalogue-set-back');

test.each([true, false])(
  'no schema version means two things after the catalogue was set back (rows flushed: %s)',
  async (isFlushed) => {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    const stale = newInstance(prefix);
    await send(stale, dataset, [{ timestamp: at(2), v: 2 }]);
    const putBack = await remembered(ctx, dataset);
    await send(ctx, dataset, [{ timestamp: at(3), v: 3, x: 0.5 }]);
    await send(ctx, dataset, [{ timestamp: at(4), v: 4, x: 1.5, z: true }]);
    if (isFlushed) await flush(ctx, dataset);
    await putBack();

    // One that remembers what the catalogue has now, and adds a field of the same name as another type.
    await expect(send(stale, dataset, [{ timestamp: at(5), v: 5, x: 'text' }])).rejects.toMatchObject({
      code: 'rows-refused',
    });
    expect(alarms(stale)).toHaveLength(1);
    await send(newInstance(prefix), dataset, [{ timestamp: at(6), v: 6, y: 'other' }]);
    await send(ctx, dataset, [{ timestamp: at(7), v: 7, x: 2.5, y: 'more' }]);
    await flush(newInstance(prefix), dataset);
    await expectStored(ctx, await tableOf(ctx, dataset), 6);
    const { rows } = await query(newInstance(prefix), dataset);
    expect(rows.map(({ v, x, y, z }) => [v, x, y, z])).toEqual([
      [1, null, null, null],
      [2, null, null, null],
      [3, 0.5, null, null],
      [4, 1.5, null, true],
      [6, null, 'other', null],
      [7, 2.5, 'more', null],
    ]);
    const versions = await ctx.postgres.rows<{ n: string; of: string }>(
      'select count(*) as n, count(distinct version) as of from schema_versions where dataset = $1',
      [dataset],
    );
    expect(versions[0]?.n).toBe(versions[0]?.of);
  },
);

test('a version that is given a second time with another type is given up for one beyond', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const stale = newInstance(prefix);
  await send(stale, dataset, [{ timestamp: at(2), v: 2 }]);
  const putBack = await remembered(ctx, dataset);
  await send(ctx, dataset, [{ timestamp: at(3), v: 3, x: 0.5 }]);
  await putBack();
  await expect(send(stale, dataset, [{ timestamp: at(4), v: 4, x: 'text' }])).rejects.toMatchObject({
    code: 'rows-refused',
  });
  const other = newInstance(prefix);
  await send(other, dataset, [{ timestamp: at(5), v: 5, x: 1.5, y: 'new' }]);
  expect((await tableOf(newInstance(prefix), dataset)).schema).toMatchObject({
    version: 4,
    fields: [{ name: 'timestamp' }, { name: 'v' }, { name: 'x', type: 'double' }, { name: 'y', type: 'string' }],
  });
  await flush(newInstance(prefix), dataset);
  await expectStored(ctx, await tableOf(ctx, dataset), 4);
});

test('a table that was created since is in the catalogue again as soon as it is used', async ({ dataset }) => {
  const putBack = await remembered(ctx, dataset);
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await flush(ctx, dataset);
  await send(ctx, dataset, [{ timestamp: at(2), v: 2 }]);
  await putBack();
  await expect(send(newInstance(prefix), dataset, [{ timestamp: at(3), v: 'text' }])).rejects.toMatchObject({
    code: 'rows-refused',
  });
  await send(newInstance(prefix), dataset, [{ timestamp: at(4), v: 4, w: 'new' }]);
  expect(await requireTable(newInstance(prefix), dataset, 'm')).toMatchObject({ life: 1, state: 'active' });
  await flush(newInstance(prefix), dataset);
  expect((await query(newInstance(prefix), dataset)).rows.map(({ v }) => v)).toEqual([1, 2, 4]);
  const lanes = await ctx.postgres.rows('select incarnation from lanes where dataset = $1', [dataset]);
  expect(lanes).toEqual([{ incarnation: await ctx.redis.hget(ctx.keys.state({ dataset, physical: 'm' }, 0), 'inc') }]);
});

test('a change of state holds although the hot buffer knows of later ones', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const putBack = await remembered(ctx, dataset);
  for (const state of ['frozen', 'active', 'frozen', 'active'] as const)
    await changeTable(ctx, dataset, 'm', { state });
  await putBack();
  await changeTable(newInstance(prefix), dataset, 'm', { state: 'frozen' });
  await expect(send(newInstance(prefix), dataset, [{ timestamp: at(2), v: 2 }])).rejects.toMatchObject({
    code: 'dataset-frozen',
  });
  await changeTable(newInstance(prefix), dataset, 'm', { state: 'active' });
  await send(newInstance(prefix), dataset, [{ timestamp: at(2), v: 2 }]);
});

test('a table that was dropped since is not taken for an empty one, and may be deleted again', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await flush(ctx, dataset);
  const drop = async () => {
    await deleteTable(ctx, dataset, 'm', 0);
    const jobs = await ctx.postgres.rows<{ id: string }>(
      `select id from jobs where dataset = $1 and kind = 'drop-table' order by n desc limit 1`,
      [dataset],
    );
    expect(await workUntilOver(ctx, { id: jobs[0]?.id ?? '' })).toMatchObject({ state: 'done' });
  };
  const putBack = await remembered(ctx, dataset);
  await drop();
  await putBack();
  const other = newInstance(prefix);
  await expect(readTable(other, dataset, 'm')).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('Delete the table again'),
  });
  expect(alarms(other)).toHaveLength(1);
  await drop();
  await send(newInstance(prefix), dataset, [{ timestamp: at(2), v: 2 }]);
  expect((await tableOf(newInstance(prefix), dataset)).life).toBe(2);
});

test('a name that had lives of which the catalogue knows nothing any more gets one of its own', async ({ dataset }) => {
  const putBack = await remembered(ctx, dataset);
  for (const second of [1, 2]) {
    await send(newInstance(prefix), dataset, [{ timestamp: at(second), v: second }]);
    await deleteTable(ctx, dataset, 'm', 0);
    const [job] = await ctx.postgres.rows<{ id: string }>(
      `select id from jobs where dataset = $1 and kind = 'drop-table' order by n desc limit 1`,
      [dataset],
    );
    await workUntilOver(ctx, { id: job?.id ?? '' });
  }
  await putBack();
  await send(newInstance(prefix), dataset, [{ timestamp: at(3), v: 3 }]);
  expect((await tableOf(newInstance(prefix), dataset)).life).toBe(3);
  expect((await query(newInstance(prefix), dataset)).rows).toHaveLength(1);
});

test('quotas, the side that answers, and keys that change afterwards hold, and a revoked key stays revoked', async ({
  dataset,
}) => {
  const origin = { ...prefix, TIMESTORE_ORIGIN_URL: 'http://127.0.0.1:1', TIMESTORE_ORIGIN_KEY: 'a-key' };
  const own = newInstance(origin);
  await send(own, dataset, [{ timestamp: at(1), v: 1 }]);
  const { text } = await createKey(own, { name: 'k', scopes: { query: '*' }, rowFilter: null, expiresAt_ms: null });
  const id = text.split('_')[1] ?? '';
  expect(await authenticate(own, text)).toMatchObject({ revokedAt_ms: null });
  const putBack = await remembered(own, dataset);
  const [row] = await own.postgres.rows<{ row: object }>('select to_jsonb(k) as row from api_keys k where id = $1', [
    id,
  ]);
  for (const rowsPerDay of [10, 20, 30]) {
    await changeDataset(own, dataset, { quota: { rowsPerDay }, migration: { reads: 'off', mirror: false } }, undefined);
  }
  await revokeKey(own, id);
  await putBack();
  await own.postgres.transaction([
    ['delete from api_keys where id = $1', [id]],
    [
      'insert into api_keys overriding system value select * from jsonb_populate_record(null::api_keys, $1::jsonb)',
      [JSON.stringify(row?.row)],
    ],
  ]);

  const later = newInstance(origin);
  const change = { quota: { rowsPerDay: 1 }, migration: { reads: 'compare' as const, mirror: false } };
  await changeDataset(later, dataset, change, undefined);
  expect(await readMode(newInstance(origin), dataset)).toBe('compare');
  const rows = [2, 3].map((second) => ({ timestamp: at(second), v: second }));
  await expect(send(newInstance(origin), dataset, rows)).rejects.toMatchObject({ code: 'quota-exceeded' });
  // Past the time for which the hot buffer is believed without the catalogue.
  const late = { ...newInstance(origin), now: () => Date.now() + 2 * 3_600_000 };
  expect(await authenticate(late, text)).toBeUndefined();
  const [known] = await own.postgres.rows<{ isRevoked: boolean }>(
    'select revoked_at is not null as "isRevoked" from api_keys where id = $1',
    [id],
  );
  expect(known).toEqual({ isRevoked: true });
  expect(alarms(later).length).toBeGreaterThan(0);
});
