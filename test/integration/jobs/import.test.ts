import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect } from 'vitest';
import { snapshotTable } from '../../../src/buffer/snapshot.ts';
import { changeTable, deleteTable } from '../../../src/catalog/change-table.ts';
import { findTable, readTable } from '../../../src/catalog/find-table.ts';
import { atAllRows } from '../../../src/catalog/lane-location.ts';
import { setUpLanes } from '../../../src/catalog/provision-lanes.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { type Job, readJob, retryJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { scheduleExport } from '../../../src/operations/export/export.ts';
import { readExport } from '../../../src/operations/export/published.ts';
import { type ImportRequest, importProgress, scheduleImport } from '../../../src/operations/import/request.ts';
import { atStaging } from '../../../src/operations/import/staging.ts';
import { uploadKey } from '../../../src/operations/import/uploads.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { dropOrphanStaging, removeOrphanObjects } from '../../../src/operations/reconcile/orphans.ts';
import { reconcileTable } from '../../../src/operations/reconcile/reconcile-table.ts';
import { auditTable } from '../../../src/operations/row-audit/audit-table.ts';
import { everyNode } from '../../../src/stores/clickhouse/servers.ts';
import { test } from '../fixtures.ts';
import {
  at,
  expectStored,
  flush,
  type Instance,
  newDataset,
  newInstance,
  onStored,
  query,
  type Row,
  send,
  sql,
  tableOf,
  through,
} from '../support.ts';
import { parquetOf, workUntilOver } from './support.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `import-${process.pid}` };
const ctx = newInstance(prefix);
/** Several chunks of a few rows. */
const small = { ...prefix, TIMESTORE_IMPORT_ROWS_MAX: '3' };

let objects = 0;
async function put(extension: string, content: string | Uint8Array<ArrayBuffer>): Promise<string> {
  objects += 1;
  const key = `imports/${process.pid}-${objects}.${extension}`;
  await putAs(key, content);
  return key;
}

async function putAs(key: string, content: string | Uint8Array<ArrayBuffer>): Promise<void> {
  const answer = await fetch(await ctx.objects.presignPut(key, 60), { method: 'PUT', body: content });
  expect(answer.status).toBe(200);
}

const ndjson = (rows: object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

async function objectOf(format: 'ndjson' | 'parquet', rows: object[]): Promise<string | Uint8Array<ArrayBuffer>> {
  if (format === 'ndjson') return ndjson(rows);
  const columns = `'timestamp DateTime64(3), v Float64', '${ndjson(rows)}'`;
  return await parquetOf(ctx, `SELECT * FROM format(JSONEachRow, ${columns})`);
}

async function importInto(dataset: string, request: ImportRequest, own: Instance = ctx): Promise<Job> {
  return await workUntilOver(own, await scheduleImport(own, dataset, 'm', request, undefined));
}

async function imported(dataset: string, request: ImportRequest, own: Instance = ctx): Promise<Job> {
  const job = await importInto(dataset, request, own);
  expect([job.state, job.error]).toEqual(['done', null]);
  return job;
}

const all = { orderBy: [{ column: 'timestamp' }], limit: 100_000 };
const sorted = (rows: Row[]) => rows.map((row) => JSON.stringify(Object.entries(row).sort())).sort();

/** Everything adds up, each row is there once, and no import has left anything behind. */
async function expectWhole(dataset: string, rows: number): Promise<void> {
  const table = await tableOf(newInstance(prefix), dataset);
  await flush(ctx, dataset);
  await expectStored(ctx, table, rows);
  expect(await auditTable(newInstance(prefix), table)).toMatchObject({ ok: true, partitions: [] });
  expect(await stagingOf(dataset)).toEqual([]);
}

async function stagingOf(dataset: string): Promise<unknown[]> {
  const jobs = await ctx.postgres.rows<{ id: string }>('select id from jobs where dataset = $1', [dataset]);
  const tables: { name: string }[] = [];
  for (const { clickhouse } of everyNode(ctx)) {
    const sqlText = `SELECT name FROM system.tables WHERE database = 'timestore' AND startsWith(name, 'import ')`;
    tables.push(...(await clickhouse.rows<{ name: string }>(sqlText)));
  }
  return tables.filter(({ name }) => jobs.some(({ id }) => name.includes(id)));
}

const n = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => ({ timestamp: at((from + i) % 60, 1 + ((from + i) % 7)), v: from + i }));

describe('an import', () => {
  test('of what was exported has the same rows and values, in each format', async ({ dataset }) => {
    const doubles = [0.1, -0, 5e-324, 1.7976931348623157e308, 123456789012345680000, 1 / 3];
    const texts = [null, '', 'NULL', 'a,"b"\n\\N', ' é😀\t ', '\\', '{"a":1}'];
    const rows = Array.from({ length: 50 }, (_, i) => ({
      timestamp: at(i, 1 + (i % 5)),
      d: doubles[i % 7] ?? null,
      s: texts[i % 8] ?? null,
      ok: [true, false, null][i % 3],
      j: [null, { x: [1, 'é\n"'] }, [], 'text', 5][i % 5],
      l: [[], ['a', `'q'"`, '\\n', ''], ['é']][i % 3],
    }));
    await send(ctx, dataset, rows);
    const exact = `{"timestamp":"${at(1, 9)}","i":9007199254740993}`;
    await ingestRows(ctx, { dataset, table: 'm', text: exact, format: 'ndjson', idempotencyKey: undefined });
    const { rows: before } = await query(ctx, dataset, all);
    for (const format of ['parquet', 'ndjson', 'csv'] as const) {
      const job = await workUntilOver(ctx, await scheduleExport(ctx, dataset, 'm', { format }, undefined));
      const { objects: made, columns } = await readExport(ctx, job.id);
      const copy = newDataset();
      const fields = columns as ImportRequest['fields'];
      await imported(copy, { format, objects: made.map(({ key }) => key), fields });
      const after = await query(ctx, copy, all);
      expect(sorted(after.rows)).toEqual(sorted(before));
      await expectWhole(copy, 51);
    }
  });

  test('creates the table from its rows, and adds missing fields', async ({ dataset }) => {
    const first = await put('csv', 'timestamp,v,s,on\n2026-05-01 10:00:00,1,5,true\n1777629601000,0.5,,\n');
    expect((await imported(dataset, { format: 'csv', objects: [first] })).result).toEqual({
      objects: 1,
      read: 2,
      rows: 2,
      sequences: { lane: 1, from: 1, to: 1 },
    });
    expect((await query(ctx, dataset, all)).rows).toEqual([
      { timestamp: at(0), v: 1, s: 5, on: true },
      { timestamp: at(1), v: 0.5, s: null, on: null },
    ]);
    const second = await put(
      'ndjson',
      `{"timestamp":"${at(2)}","v":2,"l":["x"]}\n{"timestamp":"${at(3)}","j":{"a": [1.0]}}\n`,
    );
    await imported(dataset, { format: 'ndjson', objects: [second] });
    const { schema } = await tableOf(newInstance(prefix), dataset);
    expect(schema.fields.map(({ name, type }) => [name, type])).toEqual([
      ['timestamp', 'timestamp'],
      ['v', 'double'],
      ['s', 'double'],
      ['on', 'boolean'],
      ['l', 'string[]'],
      ['j', 'json'],
    ]);
    expect((await query(ctx, dataset, { ...all, columns: ['l', 'j'] })).rows.slice(2)).toEqual([
      { l: ['x'], j: null },
      { l: [], j: '{"a": [1.0]}' },
    ]);
    await expectWhole(dataset, 4);
  });

  test('takes gzip and zstd, a part of the columns, and a range of time', async ({ dataset }) => {
    const key = await put('ndjson.gz', new Uint8Array(gzipSync(ndjson(n(20).map((row) => ({ ...row, more: 'x' }))))));
    const timeRange = { start: at(5, 1), end: at(0, 7) };
    const job = await imported(
      dataset,
      { format: 'ndjson', objects: [key], columns: ['timestamp', 'v'], timeRange },
      newInstance(small),
    );
    const wanted = n(20).filter(({ timestamp }) => timestamp >= timeRange.start && timestamp < timeRange.end);
    expect(job.result).toMatchObject({ read: 20, rows: wanted.length });
    expect(sorted((await query(ctx, dataset, all)).rows)).toEqual(sorted(wanted));
    const none = await imported(dataset, { format: 'ndjson', objects: [key], timeRange: { end: at(0, 1) } });
    expect(none.result).toEqual({ objects: 1, read: 20, rows: 0 });
    const csv = await put('csv.zst', new Uint8Array(zstdCompressSync(`timestamp,v\n${at(0, 1)},7.5\n`)));
    await imported(dataset, { format: 'csv', objects: [csv] });
    await expectWhole(dataset, wanted.length + 1);
  });

  test('is cut into chunks at any place: rows of one moment, of many partitions, of one', async () => {
    const shapes = [
      n(12),
      Array.from({ length: 9 }, (_, v) => ({ timestamp: at(0), v })),
      [...n(1), ...Array.from({ length: 10 }, (_, v) => ({ timestamp: at(v, 3), v: 100 + v })), ...n(3, 5)],
    ];
    const days = Array.from({ length: 230 }, (_, v) => ({ timestamp: new Date(v * 86_400_000).toISOString(), v }));
    const cases = [
      ...shapes.flatMap((rows) => ['1', '4'].map((most) => ({ rows, most, chunks: undefined }))),
      ...['3', '1000'].map((most) => ({ rows: n(12), most, chunks: undefined })),
      { rows: days, most: '1000', chunks: 3 },
    ];
    for (const { rows, most, chunks } of cases) {
      const dataset = newDataset();
      const half = Math.floor(rows.length / 2);
      const keys = [await put('ndjson', ndjson(rows.slice(0, half))), await put('ndjson', ndjson(rows.slice(half)))];
      const job = await imported(
        dataset,
        { format: 'ndjson', objects: keys },
        newInstance({ ...prefix, TIMESTORE_IMPORT_ROWS_MAX: most }),
      );
      const sequences = chunks === undefined ? {} : { sequences: { lane: 1, from: 1, to: chunks } };
      expect(job.result).toMatchObject({ rows: rows.length, ...sequences });
      const { rows: found } = await query(ctx, dataset, all);
      expect(sorted(found)).toEqual(sorted(rows));
      await expectWhole(dataset, rows.length);
      const table = await readTable(ctx, dataset, 'm');
      if (table === undefined) throw new Error('there is a table');
      const { node: whole, nameOf } = atAllRows(ctx, [table]);
      const widest = await whole.clickhouse.rows<{ n: string }>(
        `SELECT uniqExact(_partition_id) AS n FROM ${nameOf(table)} GROUP BY _seq ORDER BY n DESC LIMIT 1`,
      );
      expect(Number(widest[0]?.n)).toBeLessThanOrEqual(100);
    }
  });

  test('asked for again with the same key is the same', async ({ dataset }) => {
    const request: ImportRequest = { format: 'ndjson', objects: [await put('ndjson', ndjson(n(5)))] };
    const key = `key-${dataset}`;
    await workUntilOver(ctx, await scheduleImport(ctx, dataset, 'm', request, key));
    expect((await scheduleImport(ctx, dataset, 'm', request, key)).state).toBe('done');
    await expect(scheduleImport(ctx, dataset, 'm', { ...request, format: 'csv' }, key)).rejects.toMatchObject({
      code: 'key-reused',
    });
    await expectWhole(dataset, 5);
  });
});

describe('an import that is refused says why, and leaves nothing behind', () => {
  const refusals: [string, string, string | Uint8Array<ArrayBuffer>, Partial<ImportRequest>, RegExp][] = [
    [
      'another schema: text',
      'csv',
      'timestamp,v\nyesterday,1\n',
      {},
      /1 row cannot be stored, the first one timestamp in row 0/,
    ],
    ['no time', 'csv', 'time,v\n2026-05-01 10:00:00,1\n', {}, /has no column timestamp/],
    [
      'a field that is another',
      'ndjson',
      ndjson(n(2)),
      {
        fields: [
          { name: 'v', type: 'json' },
          { name: 'timestamp', type: 'string' },
        ],
      },
      /timestamp is timestamp and cannot become/,
    ],
    ['an empty object', 'csv', '', {}, /cannot be read as csv/],
    ['an empty Parquet file', 'parquet', '', {}, /cannot be read as parquet/],
    ['no Parquet file', 'parquet', 'timestamp,v\n2026-05-01 10:00:00,1\n', {}, /cannot be read as parquet/],
    [
      'a line that is cut off',
      'ndjson',
      `${ndjson(n(3))}{"timestamp":"2026-05-01T10:00`,
      {},
      /cannot be read as ndjson/,
    ],
    [
      'a row that is too short',
      'csv',
      'timestamp,v,w\n2026-05-01 10:00:00,1,2\n2026-05-01 10:00:00,1\n',
      {},
      /cannot be read as csv at row 2 \(line 3\): the row has 2 cells and the first line 3 names/,
    ],
    [
      'gzip that is cut off',
      'ndjson.gz',
      new Uint8Array(gzipSync(ndjson(n(50_000))).subarray(0, 20_000)),
      {},
      /cannot be read as ndjson/,
    ],
    ['no gzip', 'ndjson.gz', ndjson(n(3)), {}, /cannot be read as ndjson/],
    ['a name that no field can have', 'ndjson', ndjson([{ timestamp: at(1), _seq: 1 }]), {}, /_seq/],
    ['a column twice', 'csv', 'timestamp,v,v\n2026-05-01 10:00:00,1,2\n', {}, /twice|v/],
    [
      'columns that it lacks',
      'csv',
      'timestamp,v\n2026-05-01 10:00:00,1\n',
      { columns: ['timestamp', 'w'] },
      /has no column w/,
    ],
  ];

  test.each(refusals)('%s', async (_, extension, content, more, error) => {
    const dataset = newDataset();
    const format = extension.split('.')[0] as ImportRequest['format'];
    const good = await put('ndjson', ndjson(n(5)));
    const bad = await put(extension, content);
    const begun = await scheduleImport(ctx, dataset, 'm', { format, objects: [bad], ...more }, undefined).catch(
      (e: Error) => e,
    );
    const said = begun instanceof Error ? begun.message : (await workUntilOver(ctx, begun)).error;
    expect(said).toMatch(error);
    expect(said).not.toMatch(/DB::|s3\(|secret/i);
    expect(await findTable(newInstance(prefix), dataset, 'm')).toBeUndefined();
    expect(await stagingOf(dataset)).toEqual([]);
    // Beside a good one: all or nothing.
    if (format !== 'ndjson' || begun instanceof Error) return;
    expect((await importInto(dataset, { format, objects: [good, bad], ...more })).state).toBe('failed');
    expect(await findTable(newInstance(prefix), dataset, 'm')).toBeUndefined();
    expect(await stagingOf(dataset)).toEqual([]);
  });

  test('an object that is not there; one cut off that was whole', async ({ dataset }) => {
    const missing = await importInto(dataset, { format: 'csv', objects: ['imports/none.csv'] });
    expect([missing.state, missing.error]).toEqual(['failed', 'Object imports/none.csv is not in the bucket.']);
    await send(ctx, dataset, n(2_000));
    const job = await workUntilOver(ctx, await scheduleExport(ctx, dataset, 'm', { format: 'parquet' }, undefined));
    const [object] = (await readExport(ctx, job.id)).objects;
    const bytes = new Uint8Array(await (await fetch(await ctx.objects.presign(object?.key ?? '', 60))).arrayBuffer());
    for (const length of [4, 100, bytes.length - 20, bytes.length - 1]) {
      const cut = await put('parquet', bytes.slice(0, length));
      const copy = newDataset();
      const { error } = await importInto(copy, { format: 'parquet', objects: [cut] });
      expect(error).toMatch(/cannot be read as parquet/);
      expect(await findTable(newInstance(prefix), copy, 'm')).toBeUndefined();
    }
  });

  test('rows that cannot be stored: the first ones are reported with their errors', async ({ dataset }) => {
    await send(ctx, dataset, [{ timestamp: at(0), v: 1, s: 'x', on: true, l: ['a'] }]);
    const key = await put(
      'csv',
      `timestamp,v,s,on,l\n2026-05-01 10:00:00,1,x,true,"[]"\n,1,x,true,[]\n2026-02-30 10:00:00,1,x,true,[]\n` +
        `1969-01-01 10:00:00,1,x,true,[]\n2026-05-01 10:00:00,1e999,x,true,[]\n2026-05-01 10:00:00,1,x,yes,[]\n` +
        `2026-05-01 10:00:00,9007199254740993,x,,\n2026-05-01 10:00:00,01,x,,\n2026-05-01 10:00:00,1,x,,"[1]"\n` +
        `2026-05-01 10:00:00,null,x,,\n`,
    );
    const { state, progress } = await importInto(dataset, { format: 'csv', objects: [key] });
    const found = (progress.rows as { row: number; field: string; reason: string; value: string }[]).map((wrong) => {
      return [wrong.row, wrong.field, wrong.reason, wrong.value].join(' ');
    });
    expect([state, found]).toEqual([
      'failed',
      [
        '1 timestamp missing null',
        '2 timestamp bad-timestamp 2026-02-30 10:00:00',
        '3 timestamp out-of-range 1969-01-01 10:00:00',
        '4 v out-of-range 1e999',
        '5 on wrong-type yes',
        '6 v not-exact 9007199254740993',
        '7 v wrong-type 01',
        '8 l wrong-type [1]',
        '9 v wrong-type null',
      ],
    ]);
    await expectWhole(dataset, 1);
  });

  test('more objects than there may be, and names that stand for several', async () => {
    const begin = (objects: string[]) => scheduleImport(ctx, newDataset(), 'm', { format: 'csv', objects }, undefined);
    const many = Array.from({ length: 1_001 }, (_, i) => `imports/${i}.csv`);
    await expect(begin(many)).rejects.toMatchObject({ code: 'limit-exceeded' });
    expect(await begin(many.slice(1))).toMatchObject({ state: 'queued' });
    for (const key of ['imports/*.csv', 'imports/{a,b}.csv', "imports/'.csv", 'imports/a?.csv']) {
      await expect(begin([key])).rejects.toMatchObject({ code: 'invalid-request' });
    }
  });

  test('rows past the retention of their table', async ({ dataset }) => {
    const now = Date.now();
    await send(ctx, dataset, [{ timestamp: new Date(now).toISOString(), v: 1 }]);
    await changeTable(ctx, dataset, 'm', { retention: { totalDays: 10 } });
    const days = Array.from({ length: 20 }, (_, day) => ({
      timestamp: new Date(now - day * 86_400_000 + 3_600_000).toISOString(),
      v: day,
    }));
    const key = await put('ndjson', ndjson(days));
    const refused = await importInto(dataset, { format: 'ndjson', objects: [key] });
    expect(refused.error).toMatch(/9 rows are past the retention/);
    const timeRange = { start: new Date(now - 9 * 86_400_000).toISOString() };
    await imported(dataset, { format: 'ndjson', objects: [key], timeRange });
    await expectWhole(dataset, 1 + 10);
  });

  test('and a retry reads all of it again', async ({ dataset }) => {
    const now = Date.now();
    const day_ms = 86_400_000;
    await send(ctx, dataset, [{ timestamp: new Date(now).toISOString(), v: -1 }]);
    await changeTable(ctx, dataset, 'm', { retention: { totalDays: 10 } });
    const days = Array.from({ length: 20 }, (_, v) => ({ timestamp: new Date(now - v * day_ms).toISOString(), v }));
    const old = await importInto(dataset, { format: 'ndjson', objects: [await put('ndjson', ndjson(days))] });
    expect(old.error).toMatch(/past the retention/);
    await changeTable(ctx, dataset, 'm', { retention: null });
    await retryJob(ctx, old.id);
    expect((await workUntilOver(ctx, old)).result).toMatchObject({ read: 20, rows: 20 });

    const late = `imports/${process.pid}-late.ndjson`;
    const missing = await importInto(dataset, { format: 'ndjson', objects: [await put('ndjson', ndjson(n(5))), late] });
    expect(missing.error).toMatch(/is not in the bucket/);
    await ctx.objects.put(late, ndjson(n(3, 50)));
    await retryJob(ctx, missing.id);
    expect((await workUntilOver(ctx, missing)).result).toMatchObject({ read: 8, rows: 8 });
    await expectWhole(dataset, 1 + 20 + 8);
  });

  test('a table that is deleted, frozen or created again meanwhile', async ({ dataset }) => {
    await send(ctx, dataset, n(1));
    const key = await put('ndjson', ndjson(n(5)));
    const job = await scheduleImport(ctx, dataset, 'm', { format: 'ndjson', objects: [key] }, undefined);
    await changeTable(ctx, dataset, 'm', { state: 'frozen' });
    // A cutover fills a table that takes no rows from others.
    expect((await workUntilOver(ctx, job)).state).toBe('done');
    await changeTable(ctx, dataset, 'm', { state: 'active' });
    const gone = await scheduleImport(ctx, dataset, 'm', { format: 'ndjson', objects: [key] }, undefined);
    await workUntil(gone, (progress) => progress.seal !== undefined);
    await deleteTable(ctx, dataset, 'm', 0);
    expect((await workUntilOver(ctx, gone)).error).toMatch(/was deleted before the import was done/);
    expect(await stagingOf(dataset)).toEqual([]);
  });
});

/** Works on one step of whatever is due, and moves one chunk at most. */
async function workOnce(own: Instance = ctx): Promise<void> {
  let isBegun = false;
  const hasty = { ...own, now: () => Date.now() + (isBegun ? 60_000 : 0) };
  const step: (typeof jobHandlers)['import'] = async (...args) => {
    isBegun = true;
    return await jobHandlers.import(...args);
  };
  await runDueJobs(hasty, { ...jobHandlers, import: step }, Date.now() + 30_000);
}

/** Works on a job, one step at a time, until its progress is so. */
async function workUntil({ id }: Job, isSo: (progress: Record<string, unknown>) => boolean, own = ctx): Promise<Job> {
  for (;;) {
    const job = await readJob(own, id);
    if (isSo(job.progress)) return job;
    expect(job.state).toMatch(/queued|running/);
    await workOnce(own);
  }
}

describe('while an import moves its rows', () => {
  test('readers see none of them before they see all; writers and flushes go on', async ({ dataset }) => {
    const [before, brought] = [n(4, 1_000), n(12)];
    await send(ctx, dataset, before);
    const own = newInstance(small);
    const job = await scheduleImport(
      own,
      dataset,
      'm',
      { format: 'ndjson', objects: [await put('ndjson', ndjson(brought))] },
      undefined,
    );
    const seen: Row[] = [...before];
    const counts = new Set<number>();
    for (let step = 0; (await readJob(own, job.id)).state !== 'done'; step += 1) {
      const row = { timestamp: at(step % 60, 2), v: 5_000 + step };
      await send(ctx, dataset, [row]);
      seen.push(row);
      if (step % 2 === 0) await flush(ctx, dataset);
      for (const instance of [ctx, newInstance(prefix), newInstance({ ...prefix, TIMESTORE_FENCE_ROWS_MAX: '1' })]) {
        expect(sorted((await query(instance, dataset, all)).rows)).toEqual(sorted(seen));
        const [sum] = (await sql(instance, 'SELECT count() AS n, sum(v) AS s FROM m', { dataset })).rows;
        expect(sum).toEqual({ n: seen.length, s: seen.reduce((total, { v }) => total + Number(v), 0) });
      }
      const table = (await readTable(ctx, dataset, 'm')) ?? (await tableOf(ctx, dataset));
      const { node: whole, nameOf } = atAllRows(ctx, [table]);
      // Not those that writers use.
      const [{ n: stored = '0', lane = 1 } = {}] = await whole.clickhouse.rows<{ n: string; lane: number }>(
        `SELECT count() AS n, max(_lane) AS lane FROM ${nameOf(table)} WHERE _lane > 0`,
      );
      counts.add(Number(stored));
      if (stored !== '0') await flushLane(ctx, table, lane, 'admin');
      await workOnce(own);
    }
    // Flushes of the table leave its lane alone.
    expect(ctx.events.filter(({ alarm }) => alarm === true)).toEqual([]);
    // Some of them were in ClickHouse while nobody saw them.
    expect([...counts].some((count) => count > 0 && count < 12)).toBe(true);
    expect(sorted((await query(ctx, dataset, all)).rows)).toEqual(sorted([...seen, ...brought]));
    await expectWhole(dataset, seen.length + brought.length);
  });
});
describe('an import that is under way', () => {
  const move = (progress: Record<string, unknown>) => Number(progress.moved ?? 0) >= 2;

  async function halfMoved(rows: object[] = n(12)): Promise<{ dataset: string; job: Job }> {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(0), v: -1 }]);
    const request: ImportRequest = { format: 'ndjson', objects: [await put('ndjson', ndjson(rows))] };
    const job = await scheduleImport(ctx, dataset, 'm', request, undefined);
    return { dataset, job: await workUntil(job, move, newInstance(small)) };
  }

  test('shows nothing after the hot buffer has lost everything, and is exact in the end', async () => {
    const { dataset, job } = await halfMoved();
    await flush(ctx, dataset);
    const table = await tableOf(ctx, dataset);
    const keys = [0, 1].flatMap((lane) => [ctx.keys.state(table, lane), ctx.keys.log(table, lane)]);
    await ctx.redis.del(...keys, ctx.keys.table(dataset, 'm'));
    const fresh = newInstance(prefix);
    await setUpLanes(fresh, table);
    // The lane has the seal of the import again, which fences every read.
    expect(await snapshotTable(fresh, table, 'state')).toMatchObject({ lanes: [{}, { sealedTo: expect.any(Number) }] });
    expect((await query(fresh, dataset, all)).rows).toMatchObject([{ v: -1 }]);
    // Nor do writers come into its lane.
    await expect(changeTable(fresh, dataset, 'm', { lanes: 2 })).rejects.toMatchObject({ code: 'conflict' });
    await ctx.redis.del(ctx.keys.state(table, 0));
    await send(newInstance(prefix), dataset, [{ timestamp: at(1), v: -2 }]);
    expect((await workUntilOver(newInstance(small), job)).state).toBe('done');
    expect((await query(ctx, dataset, all)).rows).toHaveLength(14);
    await changeTable(ctx, dataset, 'm', { lanes: 2 });
    await expectWhole(dataset, 14);
  });

  test('goes on when writers add fields meanwhile', async () => {
    const { dataset, job } = await halfMoved();
    await send(ctx, dataset, [{ timestamp: at(9), v: -2, more: 'x' }]);
    await flush(ctx, dataset);
    expect((await workUntilOver(newInstance(small), job)).state).toBe('done');
    const { rows } = await query(newInstance(prefix), dataset, all);
    expect(rows.filter(({ more }) => more === null)).toHaveLength(13);
    await expectWhole(dataset, 14);
  });

  test.each([
    ['all rows', ''],
    ['a row', 'AND _row = 1'],
  ])('goes on although the server has remembered %s of a chunk that it did not keep', async (_, lost) => {
    const { dataset, job } = await halfMoved();
    const table = await tableOf(newInstance(prefix), dataset);
    // The next chunk: its token is known, and its rows are gone.
    await workUntil(job, ({ moved }) => Number(moved) >= 3, newInstance(small));
    const lane = table.shards.length - 1;
    await onStored(
      ctx,
      table,
      `ALTER TABLE ${qualifiedName(table)} DELETE WHERE _lane = ${lane} AND _seq = 3 ${lost} SETTINGS mutations_sync = 1`,
    );
    await ctx.postgres.rows(`update jobs set progress = jsonb_set(progress, '{moved}', '2') where id = $1`, [job.id]);
    const own = newInstance(small);
    expect((await workUntilOver(own, job)).state).toBe('done');
    expect(own.events).toContainEqual(expect.objectContaining({ event: 'rows-missing', alarm: false }));
    await expectWhole(dataset, 13);
  });

  test('is worked on by several at once, and is exact', async ({ dataset }) => {
    const request: ImportRequest = { format: 'ndjson', objects: [await put('ndjson', ndjson(n(60)))] };
    const job = await scheduleImport(ctx, dataset, 'm', request, undefined);
    const workers = [1, 2, 3].map(async () => {
      const own = newInstance({ ...small, TIMESTORE_JOB_CLAIM_MS: '100' });
      while ((await readJob(own, job.id)).state !== 'done') {
        // As if nobody had heard of the one who has it.
        await own.postgres.rows('update jobs set claimed_until = now(), due_at = now() where id = $1', [job.id]);
        await workOnce(own);
      }
    });
    await Promise.all(workers);
    expect((await query(ctx, dataset, all)).rows).toHaveLength(60);
    await expectWhole(dataset, 60);
  });

  test('has the lane to itself: others of the same table wait for it, and go on after it', async () => {
    const { dataset, job } = await halfMoved();
    const other = await scheduleImport(
      ctx,
      dataset,
      'm',
      { format: 'ndjson', objects: [await put('ndjson', ndjson(n(4, 100)))] },
      undefined,
    );
    await workUntil(other, ({ chunks }) => chunks !== undefined, newInstance(small));
    expect((await readJob(ctx, other.id)).progress.seal).toBeUndefined();
    const [first, second] = [
      await workUntilOver(newInstance(small), job),
      await workUntilOver(newInstance(small), other),
    ];
    expect(first.result).toMatchObject({ sequences: { lane: 1, from: 1, to: 6 } });
    // What it has read may be on another shard, and goes into a lane there.
    const isThere = ctx.cluster !== undefined && (await tableOf(newInstance(prefix), dataset)).readLanes === 3;
    const after = isThere ? { lane: 2, from: 1, to: 2 } : { lane: 1, from: 7, to: 8 };
    expect(second.result).toMatchObject({ sequences: after });
    // Then it is a lane like others.
    await changeTable(ctx, dataset, 'm', { lanes: 2 });
    for (let v = 0; v < 8; v += 1) await send(ctx, dataset, [{ timestamp: at(v), v: 1_000 + v }]);
    const snapshot = await snapshotTable(ctx, await tableOf(newInstance(prefix), dataset), 'state');
    expect(snapshot !== 'unknown' && Number(snapshot.lanes[1]?.seq)).toBeGreaterThan(isThere ? 6 : 8);
    await expectWhole(dataset, 1 + 12 + 4 + 8);
  });

  test('shows again where the hot buffer has gone back behind its end', async () => {
    const { dataset, job } = await halfMoved();
    const table = await tableOf(newInstance(prefix), dataset);
    const key = ctx.keys.state(table, 1);
    const before = (await ctx.redis.inTurn([['HGETALL', key]]))[0]?.result as string[];
    const { result } = await workUntilOver(newInstance(small), job);
    expect(result).toMatchObject({ rows: 12 });
    await ctx.redis.del(key);
    await ctx.redis.inTurn([['HSET', key, ...before]]);
    expect((await query(newInstance(prefix), dataset, all)).rows).toHaveLength(1);
    const { drift } = await reconcileTable(newInstance(prefix), await tableOf(newInstance(prefix), dataset));
    expect(drift).toMatchObject([{ what: 'import-hidden', mended: true }]);
    expect((await query(newInstance(prefix), dataset, all)).rows).toHaveLength(13);
    await expectWhole(dataset, 13);
  });

  test.each(['ndjson', 'parquet'] as const)(
    'reads an object again that changes while it is read: %s',
    async (format) => {
      const dataset = newDataset();
      const [before, after] = [await objectOf(format, n(5)), await objectOf(format, n(6))];
      const key = await put(format, before);
      const own = through(newInstance(prefix), {
        clickhouse: (client) => ({
          ...client,
          send: async (request) => {
            if (String(request.body).startsWith('INSERT INTO timestore.')) await putAs(key, after);
            return await client.send(request);
          },
        }),
      });
      const job = await importInto(dataset, { format, objects: [key] }, own);
      expect([job.state, job.result]).toMatchObject(['done', { read: 6, rows: 6 }]);
      const error = expect.stringContaining('was written again while it was read');
      expect(own.events).toContainEqual(expect.objectContaining({ event: 'job', outcome: 'failed', error }));
      await expectWhole(dataset, 6);
    },
  );

  test('and was left is cleared away, and no other', async () => {
    const { dataset, job } = await halfMoved();
    const [{ name = '' } = {}] = (await stagingOf(dataset)) as { name: string }[];
    const lost = name.replace(/ .{8}(@\d+)?$/, ' 00000000$1');
    const there = atStaging(ctx, job.id, name);
    await there.clickhouse.command(`CREATE TABLE timestore.\`${lost}\` AS timestore.\`${name}\``);
    expect(await dropOrphanStaging(ctx)).toContain(lost);
    expect(await stagingOf(dataset)).toEqual([{ name }]);
    await workUntilOver(newInstance(small), job);
    await expectWhole(dataset, 13);
  });

  test('keeps its uploads; others are removed after a day', async ({ dataset }) => {
    const [asked, lost] = [await uploadKey(ctx, dataset, 'a.csv'), await uploadKey(ctx, dataset, 'b.csv')];
    for (const key of [asked, lost]) await ctx.objects.put(key, `timestamp,v\n${at(1)},1\n`);
    const job = await scheduleImport(ctx, dataset, 'm', { format: 'csv', objects: [asked] }, undefined);
    const own: typeof ctx.objects.list = async (begin, options) =>
      (await ctx.objects.list(begin, options)).filter(({ key }) => key.includes(dataset));
    const objects = { ...ctx.objects, list: own };
    const keys = async () => (await own('uploads/')).map(({ key }) => key);
    await removeOrphanObjects({ ...newInstance(prefix), objects });
    expect((await keys()).length).toBe(2);
    const later = { ...newInstance(prefix), objects, now: () => Date.now() + 25 * 3_600_000 };
    await removeOrphanObjects(later);
    expect(await keys()).toEqual([asked]);
    expect((await workUntilOver(ctx, job)).state).toBe('done');
    await removeOrphanObjects(later);
    expect(await keys()).toEqual([]);
    await expectWhole(dataset, 1);
  });

  test('reports its progress', async () => {
    const { dataset, job } = await halfMoved();
    expect(importProgress(job)).toEqual({ objects: 1, read: 1, rows: 12, moved: expect.any(Number) });
    expect(importProgress(job).moved).toBeGreaterThan(0);
    await workUntilOver(newInstance(small), job);
    await expectWhole(dataset, 13);
  });
});
