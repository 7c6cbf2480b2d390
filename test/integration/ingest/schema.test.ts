import { describe, expect } from 'vitest';
import { changeTable } from '../../../src/catalog/change-table.ts';
import { atAllRows } from '../../../src/catalog/lane-location.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import type { DeclaredSchema } from '../../../src/schema/declared.ts';
import { test } from '../fixtures.ts';
import { at, expectStored, flush, newDataset, newInstance, query, type Row, send, tableOf } from '../support.ts';

const ctx = newInstance();

async function sendDeclared(dataset: string, rows: object[], declared: Partial<DeclaredSchema>, instance = ctx) {
  return await ingestRows(instance, {
    dataset,
    table: 'm',
    text: JSON.stringify(rows),
    format: 'json',
    idempotencyKey: undefined,
    declared: { fields: [], defaults: [], ...declared },
  });
}

test('[elsewhere 20] declared fields have their declared types from the first row on, and the others are inferred', async ({
  dataset,
}) => {
  const declared: Partial<DeclaredSchema> = {
    fields: [
      { name: 'host', type: 'string' },
      { name: 'n', type: 'integer' },
      { name: 'e', type: 'vector(2)' },
      { name: 'unused', type: 'json' },
    ],
    timestampColumn: 'at',
    keyFields: ['host'],
  };
  await sendDeclared(dataset, [{ at: at(1), host: 'a', n: 1, e: [1, 0.5], more: true }], declared);
  await sendDeclared(dataset, [{ at: at(2), host: 'b', n: '9007199254740993', e: [2, 3] }], declared);
  const { schema } = await tableOf(ctx, dataset);
  expect(schema).toMatchObject({ timestampColumn: 'at', keyFields: ['host'] });
  expect(Object.fromEntries(schema.fields.map(({ name, type }) => [name, type]))).toEqual({
    at: 'timestamp',
    host: 'string',
    n: 'integer',
    e: 'vector(2)',
    unused: 'json',
    more: 'boolean',
  });
  await flush(ctx, dataset);
  const [{ sorting_key } = { sorting_key: '' }] = await ctx.clickhouse.rows<{ sorting_key: string }>(
    'SELECT sorting_key FROM system.tables WHERE database = {d:String} AND name = {n:String}',
    { d: `ts_${dataset}`, n: 'm' },
  );
  expect(sorting_key).toBe('host, at');
  await expect(sendDeclared(dataset, [{ at: at(3), n: 1 }], declared)).rejects.toMatchObject({ code: 'rows-refused' });
});

describe('a field that comes with a default', () => {
  const withDefault = {
    fields: [
      { name: 'region', type: 'string' as const },
      { name: 'big', type: 'integer' as const },
    ],
    defaults: [
      { name: 'region', json: '"e\\"u"' },
      { name: 'big', json: '9007199254740993' },
    ],
  };

  test('is in rows from before, flushed or not, and in rows that do not name it; null stays null', async ({
    dataset,
  }) => {
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    await flush(ctx, dataset);
    const stale = newInstance();
    await send(stale, dataset, [{ timestamp: at(2), v: 2 }]);
    await sendDeclared(
      dataset,
      [
        { timestamp: at(3), v: 3 },
        { timestamp: at(4), region: null },
      ],
      withDefault,
    );
    // By an instance that has not heard of the new version.
    await send(stale, dataset, [{ timestamp: at(5), v: 5 }]);
    await send(newInstance(), dataset, [{ timestamp: at(6), region: 'us', big: 1 }]);
    const expected = [
      [at(1), 'e"u'],
      [at(2), 'e"u'],
      [at(3), 'e"u'],
      [at(4), null],
      [at(5), 'e"u'],
      [at(6), 'us'],
    ];
    const regions = (rows: Row[]) => rows.map(({ timestamp, region }) => [timestamp, region]);
    expect(regions((await query(newInstance(), dataset)).rows)).toEqual(expected);
    expect((await query(newInstance(), dataset, { columns: ['big'] })).sources.hotBuffer.rows).toBe(5);
    await flush(newInstance(), dataset);
    expect(regions((await query(newInstance(), dataset)).rows)).toEqual(expected);
    const table = await tableOf(ctx, dataset);
    const { node: whole, nameOf } = atAllRows(ctx, [table]);
    const raw = await whole.clickhouse.rows(`SELECT big FROM ${nameOf(table)} ORDER BY timestamp`);
    expect(raw.map((row) => Object.values(row as object)[0])).toEqual([
      '9007199254740993',
      '9007199254740993',
      '9007199254740993',
      '9007199254740993',
      '9007199254740993',
      '1',
    ]);
  });

  test.each([
    ['boolean', 'true', true],
    ['double', '0.1', 0.1],
    ['json', '{"a":[1, 2]}', '{"a":[1, 2]}'],
    ['string[]', '["a","b\'"]', ['a', "b'"]],
    ['vector(2)', '[1,0.5]', [1, 0.5]],
    ['timestamp', '"2026-05-01T10:00:00.123Z"', '2026-05-01T10:00:00.123Z'],
    ['string', '"\\\\ \' ` \\n"', "\\ ' ` \n"],
  ] as const)('%s: %s', async (type, json, value) => {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    await flush(ctx, dataset);
    const declared = { fields: [{ name: 'f', type }], defaults: [{ name: 'f', json }] };
    await sendDeclared(dataset, [{ timestamp: at(2) }], declared);
    const values = async () => (await query(newInstance(), dataset, { columns: ['f'] })).rows.map(({ f }) => f);
    expect(await values()).toEqual([value, value]);
    await flush(newInstance(), dataset);
    expect(await values()).toEqual([value, value]);
  });

  test('the same said again changes nothing, another one is refused', async ({ dataset }) => {
    await sendDeclared(dataset, [{ timestamp: at(1) }], withDefault);
    await sendDeclared(dataset, [{ timestamp: at(2) }], withDefault);
    expect((await tableOf(newInstance(), dataset)).schema.version).toBe(1);
    const other = { ...withDefault, defaults: [{ name: 'region', json: '"us"' }] };
    await expect(sendDeclared(dataset, [{ timestamp: at(3) }], other)).rejects.toMatchObject({
      code: 'schema-refused',
    });
  });
});

test('[elsewhere 11] a declared type that is another is refused before anything is stored, with both types and the ways out', async ({
  dataset,
}) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const refused = sendDeclared(dataset, [{ timestamp: at(2), v: 'x', w: 1 }], {
    fields: [
      { name: 'w', type: 'double' },
      { name: 'v', type: 'string' },
    ],
  });
  await expect(refused).rejects.toMatchObject({
    code: 'schema-refused',
    message: expect.stringMatching(/v is double and cannot become string.*new name/),
    extra: { field: 'v', oldType: 'double', newType: 'string' },
  });
  expect((await tableOf(newInstance(), dataset)).schema.fields.map(({ name }) => name)).toEqual(['timestamp', 'v']);
  expect((await query(ctx, dataset)).rows).toHaveLength(1);
});

test('a value of another type is refused with row, field, both types and what to do', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await expect(
    send(ctx, dataset, [
      { timestamp: at(2), v: 2 },
      { timestamp: at(3), v: 'x' },
    ]),
  ).rejects.toMatchObject({
    code: 'rows-refused',
    message: expect.stringMatching(/new field name/),
    extra: { errors: [{ index: 1, field: 'v', reason: 'wrong-type', oldType: 'double', newType: 'string' }] },
  });
});

test.each([
  ['a name of ours', { fields: [{ name: '_x', type: 'string' }] }],
  ['a list with a dot', { fields: [{ name: 'a.b', type: 'string[]' }] }],
  ['a key that is no field', { keyFields: ['host'] }],
  ['a key that is a list', { fields: [{ name: 'host', type: 'string[]' }], keyFields: ['host'] }],
  ['a default of another type', { fields: [{ name: 'n', type: 'integer' }], defaults: [{ name: 'n', json: '"x"' }] }],
  ['a default of no field', { defaults: [{ name: 'n', json: '1' }] }],
] as const)('a schema with %s is refused, and makes nothing', async (_, declared) => {
  const dataset = newDataset();
  const wrong = declared as unknown as Partial<DeclaredSchema>;
  await expect(sendDeclared(dataset, [{ timestamp: at(1) }], wrong)).rejects.toMatchObject({ code: 'schema-refused' });
  await expect(tableOf(newInstance(), dataset)).rejects.toThrow('no table');
});

test('explicit fields from many writers at once all become part of one schema', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(0) }]);
  await Promise.all(
    Array.from({ length: 6 }, (_, n) =>
      sendDeclared(dataset, [{ timestamp: at(n) }], { fields: [{ name: `f${n}`, type: 'integer' }] }, newInstance()),
    ),
  );
  const names = (await tableOf(newInstance(), dataset)).schema.fields.map(({ name }) => name);
  expect(names.sort()).toEqual([...Array.from({ length: 6 }, (_, n) => `f${n}`), 'timestamp']);
});

describe('with a retention', () => {
  const day_ms = 86_400_000;
  const daysAgo = (days: number) => new Date(Date.now() - days * day_ms).toISOString();

  async function kept(totalDays: number): Promise<string> {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: daysAgo(0), v: 0 }]);
    await changeTable(ctx, dataset, 'm', { retention: { totalDays } });
    return dataset;
  }

  test('[elsewhere 21] rows past it are refused, not acknowledged and gone', async () => {
    const dataset = await kept(7);
    await expect(send(ctx, dataset, [{ timestamp: daysAgo(6) }, { timestamp: daysAgo(8) }])).rejects.toMatchObject({
      extra: { errors: [{ index: 1, reason: 'past-retention' }] },
    });
    await send(ctx, dataset, [{ timestamp: daysAgo(6), v: 6 }]);
    await flush(ctx, dataset);
    await expectStored(ctx, await tableOf(ctx, dataset), 2);
  });

  test('a request accepted once stays so when it is repeated after its rows went past it', async () => {
    const dataset = await kept(7);
    const rows = [{ timestamp: daysAgo(6), v: 6 }];
    const first = await send(ctx, dataset, rows, 'k');
    const later = { ...newInstance(), now: () => Date.now() + 3 * day_ms };
    expect((await send(later, dataset, rows, 'k')).accepted).toEqual({ ...first.accepted, replayed: true });
  });

  test('rows that go past it while they wait to be flushed hold up nothing, and the manifest says so', async ({
    dataset,
  }) => {
    await send(ctx, dataset, [
      { timestamp: daysAgo(0), v: 0 },
      { timestamp: daysAgo(30), v: 30 },
      { timestamp: daysAgo(1), v: 1 },
    ]);
    await changeTable(ctx, dataset, 'm', { retention: { totalDays: 7 } });
    const table = await tableOf(newInstance(), dataset);
    expect(table.retention).toEqual({ totalDays: 7 });
    const flusher = newInstance();
    expect(await flushLane(flusher, table, 0, 'admin')).toMatchObject({ outcome: 'ok' });
    await expectStored(ctx, table, 2);
    await changeTable(ctx, dataset, 'm', { retention: null });
    expect((await tableOf(newInstance(), dataset)).retention).toBeUndefined();
    await send(newInstance(), dataset, [{ timestamp: daysAgo(30), v: 30 }]);
    await flush(newInstance(), dataset);
    await expectStored(ctx, table, 3);
  });
});
