import { expect } from 'vitest';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { openRecords, replayRecords } from '../../../src/operations/quarantine/replay.ts';
import { inject } from '../../faults/injection.ts';
import { test } from '../fixtures.ts';
import { at, expectStored, flush, newDataset, newInstance, query, send, tableOf } from '../support.ts';

const ctx = newInstance();

async function sendSome(dataset: string, rows: unknown[], idempotencyKey?: string, instance = ctx, overrides = {}) {
  return await ingestRows(instance, {
    dataset,
    table: 'm',
    text: JSON.stringify(rows),
    format: 'json',
    idempotencyKey,
    onError: 'quarantine',
    ...overrides,
  });
}

const mixed = [{ timestamp: at(1), v: 1 }, { timestamp: at(2), v: 'two' }, 7, { v: 4 }, { timestamp: at(5), v: 5 }];

test('invalid rows go into quarantine, the others are accepted, and all are accounted for', async ({ dataset }) => {
  const { accepted } = await sendSome(dataset, mixed);
  expect(accepted).toMatchObject({ accepted: 2, rejected: 0, quarantined: 3 });
  expect(accepted.errors.map(({ index, field, reason }) => [index, field, reason])).toEqual([
    [1, 'v', 'wrong-type'],
    [2, null, 'not-an-object'],
    [3, 'timestamp', 'missing'],
  ]);
  expect((await query(ctx, dataset)).rows.map(({ v }) => v)).toEqual([1, 5]);
  const aside = await query(ctx, dataset, { tableName: '_quarantine' });
  expect(aside.rows.map(({ index, payload, reason }) => [index, payload, reason])).toEqual([
    [1, JSON.stringify(mixed[1]), 'wrong-type'],
    [2, '7', 'not-an-object'],
    [3, '{"v":4}', 'missing'],
  ]);
});

test('the same request again is answered as at first, also when its rows would fit by now', async ({ dataset }) => {
  const rows = [
    { timestamp: at(1), a: 1 },
    { timestamp: at(2), a: 1, b: 2 },
  ];
  const narrow = newInstance({ TIMESTORE_TABLE_FIELDS_MAX: '2' });
  const first = await sendSome(dataset, rows, 'k', narrow);
  expect(first.accepted).toMatchObject({ accepted: 1, quarantined: 1 });
  const again = await sendSome(dataset, rows, 'k', newInstance());
  expect(again.accepted).toMatchObject({
    accepted: 1,
    quarantined: 1,
    replayed: true,
    batchId: first.accepted.batchId,
    watermark: first.accepted.watermark,
  });
  expect((await query(newInstance(), dataset)).rows).toHaveLength(1);
  expect(await openRecords(ctx, dataset, { limit: 10 })).toHaveLength(1);
});

test.each([4, 5])(
  'a request cut in chunks with rows at fault that died at call %i is completed as it was begun',
  async (call) => {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
    // Its calls: what the table is, whether the key is known, whether the table is another by now, chunk 0, chunk 1, what the quarantine is, …
    const dying = inject(newInstance({ TIMESTORE_CHUNK_BYTES_MAX: '70' }), { call, kind: 'dies before' });
    await Promise.race([sendSome(dataset, mixed, 'k', dying), dying.died]);
    const calls = ['redis.hget', 'redis.get', 'redis.hget', 'redis.evalsha', 'redis.evalsha'];
    expect(dying.calls.slice(0, call)).toEqual(calls.slice(0, call));
    const again = await sendSome(dataset, mixed, 'k', newInstance());
    expect(again.accepted).toMatchObject({ accepted: 2, quarantined: 3, chunks: 2 });
    expect((await query(newInstance(), dataset)).rows.map(({ v }) => v)).toEqual([0, 1, 5]);
    expect(await openRecords(ctx, dataset, { limit: 10 })).toHaveLength(3);
  },
);

test('when every row is invalid, all go into quarantine and no table is created', async ({ dataset }) => {
  const { accepted } = await sendSome(dataset, [7, { timestamp: 'never' }], 'k');
  expect(accepted).toMatchObject({ accepted: 0, quarantined: 2 });
  await expect(tableOf(newInstance(), dataset)).rejects.toThrow('no table');
  expect((await sendSome(dataset, [7, { timestamp: 'never' }], 'k')).accepted).toMatchObject({ replayed: true });
  expect((await query(ctx, dataset, { tableName: '_quarantine' })).rows).toHaveLength(2);
});

test('a request with more invalid rows than one request may quarantine is rejected as a whole', async () => {
  const strict = newInstance({ TIMESTORE_QUARANTINE_ROWS_MAX: '2' });
  const dataset = newDataset();
  await expect(sendSome(dataset, mixed, undefined, strict)).rejects.toMatchObject({
    code: 'limit-exceeded',
    message: expect.stringContaining('quarantine_rows_max'),
  });
  await expect(tableOf(newInstance(), dataset)).rejects.toThrow('no table');
});

test('an invalid row of CSV is kept as the equivalent JSON', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(0), v: 0, s: 'x' }]);
  const text = `timestamp,v,s\n${at(1)},1,a\n${at(2)},no,"b ""q"""\n`;
  const sent = { dataset, table: 'm', text, format: 'csv', idempotencyKey: undefined, onError: 'quarantine' } as const;
  expect((await ingestRows(ctx, sent)).accepted).toMatchObject({ accepted: 1, quarantined: 1 });
  const [record] = await openRecords(ctx, dataset, { limit: 10 });
  expect(JSON.parse(record?.payload ?? '')).toEqual({ timestamp: at(2), v: 'no', s: 'b "q"' });
});

test('rows in quarantine that fit by now are accepted, each once; the others stay', async ({ dataset }) => {
  const narrow = newInstance({ TIMESTORE_TABLE_FIELDS_MAX: '2' });
  await sendSome(
    dataset,
    [{ timestamp: at(1), a: 1 }, { timestamp: at(2), b: 9007199254740991 }, { a: 3 }],
    'k',
    narrow,
  );
  const records = await openRecords(ctx, dataset, { limit: 10 });
  const result = await replayRecords(ctx, dataset, records);
  expect(result).toMatchObject({ replayed: 1, refused: [{ reason: 'missing' }] });
  await replayRecords(newInstance(), dataset, records);
  expect(await openRecords(ctx, dataset, { limit: 10 })).toMatchObject([{ reason: 'missing' }]);
  await flush(newInstance(), dataset);
  await expectStored(ctx, await tableOf(newInstance(), dataset), 2);
});

test('without the object store a request with a large invalid row is rejected, and one without it is not', async ({
  dataset,
}) => {
  await sendSome(dataset, mixed);
  const away = newInstance({ S3_ENDPOINT: 'http://127.0.0.1:1' });
  expect((await sendSome(dataset, mixed, undefined, away)).accepted.quarantined).toBe(3);
  const large = [{ timestamp: at(1), v: 'x'.repeat(100_000) }];
  await expect(sendSome(dataset, large, 'k', away)).rejects.toMatchObject({ code: 'unavailable', store: 's3' });
  expect((await sendSome(dataset, large, 'k')).accepted.quarantined).toBe(1);
});

test('a row of CSV is sent again as the cells it was, however large, once its fields have types', async ({
  dataset,
}) => {
  await send(ctx, dataset, [{ timestamp: at(0) }]);
  const narrow = newInstance({ TIMESTORE_TABLE_FIELDS_MAX: '1', TIMESTORE_QUARANTINE_INLINE_BYTES_MAX: '200' });
  const large = 'x'.repeat(300);
  const text = `timestamp,zip,"a ""b""",l,n\n${at(1)},1,"",[],\n${at(2)},true,,"[""é, 1""]",2\n${at(3)},1e3,${large},[],3\n`;
  const rest = { dataset, table: 'm', idempotencyKey: undefined };
  const { accepted } = await ingestRows(narrow, { ...rest, text, format: 'csv', onError: 'quarantine' });
  expect(accepted).toMatchObject({ accepted: 0, quarantined: 3 });
  const fields = [
    { name: 'zip', type: 'string' as const },
    { name: 'a "b"', type: 'string' as const },
    { name: 'l', type: 'string[]' as const },
    { name: 'n', type: 'decimal(9,2)' as const },
  ];
  await ingestRows(ctx, {
    ...rest,
    text: JSON.stringify({ timestamp: at(0) }),
    format: 'json',
    declared: { fields, defaults: [] },
  });
  const records = await openRecords(ctx, dataset, { limit: 10 });
  expect(records.map(({ object }) => object?.split('.').at(-1))).toEqual([undefined, undefined, 'csv']);
  expect(await replayRecords(newInstance(), dataset, records)).toMatchObject({ replayed: 3, refused: [] });
  const { rows } = await query(newInstance(), dataset, {
    timeRange: { start: at(1) },
    orderBy: [{ column: 'timestamp' }],
  });
  expect(rows).toEqual([
    { timestamp: at(1), zip: '1', 'a "b"': '', l: [], n: null },
    { timestamp: at(2), zip: 'true', 'a "b"': null, l: ['é, 1'], n: '2' },
    { timestamp: at(3), zip: '1e3', 'a "b"': large, l: [], n: '3' },
  ]);
});
