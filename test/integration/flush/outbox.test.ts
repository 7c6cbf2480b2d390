import { beforeEach, describe, expect, test } from 'vitest';
import { listManifests } from '../../../src/catalog/list-manifests.ts';
import { drainManifestOutbox, tryDrainingManifestOutbox } from '../../../src/catalog/manifest-outbox.ts';
import { StoreError } from '../../../src/core/errors.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { auditTable } from '../../../src/operations/row-audit/audit-table.ts';
import type { Table } from '../../../src/schema/table.ts';
import { bufferGauges } from '../../../src/telemetry/gauges.ts';
import { stage } from '../buffer/support.ts';
import { newInstance, newTable } from '../support.ts';

// An outbox of this file's own: other files drain theirs at the same time.
const prefix = { TIMESTORE_KEY_PREFIX: `outbox-${process.pid}` };
const ctx = newInstance(prefix);

beforeEach(async () => {
  await ctx.redis.del(ctx.keys.outbox, ctx.keys.refusedManifests);
});

const manifestsOf = (dataset: string) =>
  ctx.postgres.rows<Record<string, unknown>>('select * from manifests where dataset = $1 order by seq_from', [dataset]);

const outboxEntries = async () =>
  (await ctx.redis.xrange(ctx.keys.outbox, '-', '+')) as unknown as [id: string, [name: string, manifest: string]][];

test('a flush is recorded in Postgres: rows, place, size and partitions', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1, 2], { day: 1 });
  await stage(ctx, table, [3], { day: 2 });
  await flushLane(ctx, table, 0, 'admin');
  expect(await drainManifestOutbox(ctx)).toBe(1);
  const [manifest, ...others] = await manifestsOf(table.dataset);
  expect(others).toEqual([]);
  expect(manifest).toMatchObject({
    dataset: table.dataset,
    table: 'm',
    physical_table: 'm',
    lane: 0,
    trigger: 'admin',
    schema_version: 1,
    rows: '3',
    seq_from: '1',
    seq_to: '2',
    token: expect.stringMatching(/^0:1-2:/),
  });
  const partitions = await ctx.postgres.rows(
    'select partition, rows, seq_from, seq_to, time_from from manifest_partitions where manifest_id = $1 order by partition',
    [manifest?.id],
  );
  expect(partitions).toEqual([
    { partition: '20260501', rows: '2', seq_from: '1', seq_to: '1', time_from: new Date('2026-05-01T10:00:00Z') },
    { partition: '20260502', rows: '1', seq_from: '2', seq_to: '2', time_from: new Date('2026-05-02T10:00:00Z') },
  ]);
  expect(await ctx.redis.xlen(ctx.keys.outbox)).toBe(0);
});

test('a manifest is listed with every column as the flush wrote it', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1, 2], { day: 1, meta: JSON.stringify({ of: 'a batch' }) });
  await stage(ctx, table, [3], { day: 2 });
  await flushLane(ctx, table, 0, 'admin');
  const [[, [, written]] = ['', ['', '']]] = await outboxEntries();
  await drainManifestOutbox(ctx);
  const listed = await listManifests(ctx, table, { after: undefined, limit: 10 });
  expect(listed.map(({ manifest }) => manifest)).toEqual([JSON.parse(written)]);
});

test('a manifest drained twice, as by a drain that died before it removed it, is one line', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await flushLane(ctx, table, 0, 'admin');
  const entries = await outboxEntries();
  await drainManifestOutbox(ctx);
  for (const [, [name, value]] of entries) await ctx.redis.xadd(ctx.keys.outbox, '*', { [name]: value });
  expect(await drainManifestOutbox(ctx)).toBe(1);
  expect(await manifestsOf(table.dataset)).toHaveLength(1);
});

test('the same manifest with other content is an alarm, and what was recorded stays', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  await flushLane(ctx, table, 0, 'admin');
  const [[, [, text]]] = (await ctx.redis.xrange(ctx.keys.outbox, '-', '+')) as unknown as [[string, [string, string]]];
  await drainManifestOutbox(ctx);
  await ctx.redis.xadd(ctx.keys.outbox, '*', { m: JSON.stringify({ ...JSON.parse(text), rows: 99 }) });
  const other = newInstance(prefix);
  await drainManifestOutbox(other);
  expect(other.events).toContainEqual(expect.objectContaining({ event: 'manifest-conflict', alarm: true }));
  expect(await manifestsOf(table.dataset)).toMatchObject([{ rows: '1' }]);
});

test('without Postgres a flush succeeds, and its manifest waits in the outbox', async () => {
  const table = await newTable(ctx);
  await stage(ctx, table, [1]);
  const away = {
    ...newInstance(prefix),
    postgres: {
      rows: () => Promise.reject(new StoreError('postgres', 'did not answer', undefined)),
      transaction: () => Promise.reject(new StoreError('postgres', 'did not answer', undefined)),
    },
  };
  expect(await flushLane(away, table, 0, 'admin')).toMatchObject({ outcome: 'ok' });
  await tryDrainingManifestOutbox(away);
  expect(await ctx.redis.xlen(ctx.keys.outbox)).toBe(1);
  expect(await drainManifestOutbox(ctx)).toBe(1);
  expect(await manifestsOf(table.dataset)).toHaveLength(1);
});

test('many manifests are drained page by page', async () => {
  const [table] = [await newTable(ctx)];
  await stage(ctx, table, [1]);
  await flushLane(ctx, table, 0, 'admin');
  const [[, [, text]]] = (await ctx.redis.xrange(ctx.keys.outbox, '-', '+')) as unknown as [[string, [string, string]]];
  const manifest = JSON.parse(text);
  for (let n = 0; n < 120; n += 1) {
    await ctx.redis.xadd(ctx.keys.outbox, '*', { m: JSON.stringify({ ...manifest, id: `${manifest.id}/${n}` }) });
  }
  expect(await drainManifestOutbox(ctx)).toBe(121);
  expect(await manifestsOf(table.dataset)).toHaveLength(121);
});

describe('a manifest that Postgres refuses is set aside, and holds up no other', () => {
  test.each([
    [
      'a NUL in what was said of a batch',
      (told: string) => told.replace('"batches":[]', '"batches":[{"seq":1,"meta":"a\\u0000"}]'),
    ],
    [
      'half of a surrogate pair',
      (told: string) => told.replace('"batches":[]', '"batches":[{"seq":1,"meta":"\\ud83d"}]'),
    ],
    ['a text that is no JSON', (told: string) => told.slice(0, -1)],
    ['a number that is none', (told: string) => told.replace(/"rows":1,/, '"rows":"one",')],
    ['a time that there is not', (told: string) => told.replace(/"flushed_at":"[^"]*"/, '"flushed_at":"2026-02-31"')],
    ['a member that is missing', (told: string) => told.replace(/"checksum":"[^"]*",/g, '')],
  ])('%s', async (_, spoil) => {
    const tables = [await newTable(ctx), await newTable(ctx), await newTable(ctx)];
    for (const [i, table] of tables.entries()) {
      await stage(ctx, table, [i]);
      await flushLane(ctx, table, 0, 'admin');
    }
    const [first, [, [, told] = ['', '']] = ['', ['', '']], last] = await outboxEntries();
    const spoilt = spoil(told);
    expect(spoilt).not.toBe(told);
    await ctx.redis.del(ctx.keys.outbox);
    for (const text of [first?.[1][1] ?? '', spoilt, last?.[1][1] ?? ''])
      await ctx.redis.xadd(ctx.keys.outbox, '*', { m: text });

    const other = newInstance(prefix);
    expect(await drainManifestOutbox(other)).toBe(2);
    expect(await outboxEntries()).toEqual([]);
    const kept = (await ctx.redis.xrange(ctx.keys.refusedManifests, '-', '+')) as unknown as [
      string,
      [string, string],
    ][];
    expect(kept.map(([, [, text]]) => text)).toEqual([spoilt]);
    const [, table] = tables;
    const id = expect.stringContaining(`${table?.dataset}/m/`);
    expect(other.events).toContainEqual(
      expect.objectContaining({ event: 'manifest-refused', alarm: true, manifest: id }),
    );
    const gauges = await bufferGauges(ctx);
    expect(gauges).toContainEqual({ name: 'timestore_refused_manifests', labels: {}, value: 1 });

    for (const each of [tables[0], tables[2]]) expect(await manifestsOf(each?.dataset ?? '')).toHaveLength(1);
    expect(await manifestsOf(table?.dataset ?? '')).toEqual([]);
    // What it said of its rows is counted again in ClickHouse.
    expect(await auditTable(ctx, table as Table)).toMatchObject({ ok: true, missing: 0, unaccounted: 0 });
    expect(await manifestsOf(table?.dataset ?? '')).toMatchObject([{ rows: '1', trigger: 'rebuild' }]);
  });

  test.each([
    ['is away', { NEON_FETCH_ENDPOINT: 'http://127.0.0.1:9/sql' }],
    ['refuses whatever it is sent', { DATABASE_URL: String(ctx.config.DATABASE_URL).replace(/:[^:@]*@/, ':wrong@') }],
  ])('while Postgres %s none is: all of them wait', async (_, overrides: Record<string, string>) => {
    for (const text of ['{"id":"a"', '{}']) await ctx.redis.xadd(ctx.keys.outbox, '*', { m: text });
    const away = newInstance({ ...prefix, ...overrides });
    await expect(drainManifestOutbox(away)).rejects.toBeInstanceOf(StoreError);
    expect(await outboxEntries()).toHaveLength(2);
    expect(await ctx.redis.xlen(ctx.keys.refusedManifests)).toBe(0);
  });

  test('only the newest are kept', async () => {
    const few = newInstance({ ...prefix, TIMESTORE_REFUSED_MANIFESTS_MAX: '3' });
    for (let n = 0; n < 5; n += 1) await ctx.redis.xadd(ctx.keys.outbox, '*', { m: `{"n":${n}` });
    expect(await drainManifestOutbox(few)).toBe(0);
    const kept = (await ctx.redis.xrange(ctx.keys.refusedManifests, '-', '+')) as unknown as [
      string,
      [string, string],
    ][];
    expect(kept.map(([, [, text]]) => text)).toEqual(['{"n":2', '{"n":3', '{"n":4']);
  });
});

test('manifests are drained by their bytes, and the outbox takes no more of them than its limit', async () => {
  const small = newInstance({ ...prefix, TIMESTORE_OUTBOX_BYTES_MAX: '20000' });
  const table = await newTable(small);
  const meta = JSON.stringify({ attributes: { file: '"'.repeat(1_000) } });
  const { length: bytes } = meta;
  for (let n = 0; n < 20; n += 1) {
    await stage(small, table, [n], { meta });
    await flushLane(small, table, 0, 'admin');
  }
  const kept = (await small.redis.xrange(small.keys.outbox, '-', '+')) as unknown as [string, [string, string]][];
  const held = kept.reduce((sum, [, [, manifest]]) => sum + Buffer.byteLength(manifest), 0);
  expect([held > 20_000 - 2 * bytes, held < 20_000 + 2 * bytes]).toEqual([true, true]);
  const pages: number[] = [];
  const counting = newInstance({ ...prefix, TIMESTORE_REDIS_WIRE_BYTES_MAX: '9500000' });
  const limits = { ...counting.config.limits, redis_wire_bytes_max: 12_000 };
  const postgres = {
    ...counting.postgres,
    transaction: async (statements: Parameters<typeof counting.postgres.transaction>[0]) => {
      pages.push(
        (JSON.parse(String((statements[0]?.[1] as { manifests: string } | undefined)?.manifests)) as unknown[]).length,
      );
      return await counting.postgres.transaction(statements);
    },
  };
  const drained = await drainManifestOutbox({ ...counting, postgres, config: { ...counting.config, limits } });
  expect(drained).toBe(kept.length);
  expect(pages.length).toBeGreaterThan(2);
  expect(await manifestsOf(table.dataset)).toHaveLength(kept.length);
  // There is room again.
  await stage(small, table, [20], { meta });
  await flushLane(small, table, 0, 'admin');
  expect(await small.redis.xlen(small.keys.outbox)).toBe(1);
});
