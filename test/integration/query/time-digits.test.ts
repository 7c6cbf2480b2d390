import { describe, expect, test } from 'vitest';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { readJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { scheduleImport } from '../../../src/operations/import/request.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { queryTable } from '../../../src/query/execution/query-table.ts';
import { queryBody } from '../../../src/query/request/parse.ts';
import { querySql, sqlBody } from '../../../src/query/sql/run-sql.ts';
import { everyone, flush, newDataset, newInstance, newTable, query, type Row, send, sql, textOf } from '../support.ts';

const ctx = newInstance({ TIMESTORE_KEY_PREFIX: `digits-${process.pid}` });

const sent = [
  '2026-05-01T10:00:00Z',
  '2026-05-01T10:00:00.000000001Z',
  '2026-05-01T10:00:00.0000010Z',
  '2026-05-01T10:00:00.123Z',
  '2026-05-01T12:00:00.123456+02:00',
  '2026-05-01 10:00:00.123456789',
  '2026-05-01T23:59:59.999999999Z',
];
const answered = [
  '2026-05-01T10:00:00.000Z',
  '2026-05-01T10:00:00.000000001Z',
  '2026-05-01T10:00:00.000001Z',
  '2026-05-01T10:00:00.123Z',
  '2026-05-01T10:00:00.123456Z',
  '2026-05-01T10:00:00.123456789Z',
  '2026-05-01T23:59:59.999999999Z',
];

const times = (rows: unknown[]) => (rows as Row[]).map(({ timestamp }) => timestamp);

describe.each(['hot', 'flushed'])('a time keeps what it was sent with, %s', async (where) => {
  const dataset = newDataset();
  await send(
    ctx,
    dataset,
    sent.map((timestamp, v) => ({ timestamp, v })),
  );
  if (where === 'flushed') await flush(ctx, dataset);

  test('in its digits and its order', async () => {
    expect(times((await query(ctx, dataset)).rows)).toEqual(answered);
    expect(times((await query(ctx, dataset, { orderBy: [{ column: 'timestamp', direction: 'desc' }] })).rows)).toEqual(
      answered.toReversed(),
    );
  });

  test('in ranges and filters, which are compared exactly', async () => {
    const range = async (timeRange: object) => times((await query(ctx, dataset, { timeRange })).rows);
    expect(await range({ end: '2026-05-01T23:59:59.999999999Z' })).toEqual(answered.slice(0, -1));
    expect(await range({ start: '2026-05-01T23:59:59.999999999Z' })).toEqual(answered.slice(-1));
    expect(await range({ start: '2026-05-01T10:00:00.000000001Z', end: '2026-05-01T10:00:00.123456Z' })).toEqual(
      answered.slice(1, 4),
    );
    const filter = async (op: string, value: unknown) =>
      times((await query(ctx, dataset, { filters: { columns: [{ column: 'timestamp', op, value }] } })).rows);
    for (const [i, value] of answered.entries()) {
      expect(await filter('eq', value)).toEqual([value]);
      expect(await filter('gt', value)).toEqual(answered.slice(i + 1));
      expect(await filter('in', [value, '2026-05-01T10:00:00.1Z'])).toEqual([value]);
    }
    expect(await filter('between', answered.slice(1, 3))).toEqual(answered.slice(1, 3));
  });

  test('in pages', async () => {
    const found: unknown[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await query(ctx, dataset, { limit: 2, cursor });
      found.push(...page.rows);
      if (page.cursor === null) break;
      cursor = page.cursor as string;
    }
    expect(times(found)).toEqual(answered);
  });

  test('in SQL', async () => {
    const { rows } = await sql(ctx, 'SELECT timestamp, [timestamp] AS l FROM m ORDER BY timestamp', { dataset });
    expect(rows).toEqual(answered.map((timestamp) => ({ timestamp, l: [timestamp] })));
  });

  const signal = new AbortController().signal;

  test('as lines and as CSV, of rows, of intervals and of SQL', async () => {
    const asked = async (body: object, format: 'ndjson' | 'csv' | 'compact') =>
      await textOf(
        await queryTable(ctx, everyone, dataset, queryBody.parse({ tableName: 'm', ...body }), { format, signal }),
      );
    const columns = { columns: ['timestamp', 'v'] };
    expect(await asked(columns, 'ndjson')).toBe(
      answered.map((timestamp, v) => `${JSON.stringify({ timestamp, v })}\n`).join(''),
    );
    expect((await asked(columns, 'csv')).split('\n').slice(1, -1)).toEqual(answered.map((time, v) => `"${time}",${v}`));
    expect(
      (await asked(columns, 'compact'))
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual([
      ['timestamp', 'v'],
      ["DateTime64(9, 'UTC')", 'Nullable(Float64)'],
      ...answered.map((timestamp, v) => [timestamp, v]),
    ]);
    const downsample = {
      intervalUnit: 'day',
      aggregations: [
        { function: 'min', column: 'timestamp' },
        { function: 'last', column: 'timestamp', as: 'last' },
      ],
    };
    expect(JSON.parse(await asked({ downsample }, 'ndjson'))).toEqual({
      timestamp: '2026-05-01T00:00:00.000Z',
      min_timestamp: answered[0],
      last: answered.at(-1),
    });
    const text = `SELECT timestamp, 'T10:00:00.123000000Z' AS like, [timestamp, NULL] AS list FROM m ORDER BY timestamp`;
    const body = sqlBody.parse({ sql: text, dataset });
    const csv = await textOf(await querySql(ctx, everyone, body, { format: 'csv', signal }));
    expect(csv.split('\n')[1]).toBe(`"${answered[0]}","T10:00:00.123000000Z","[""${answered[0]}"",null]"`);
    const compact = await textOf(await querySql(ctx, everyone, body, { format: 'compact', signal }));
    expect(JSON.parse(compact.split('\n')[2] ?? '')).toEqual([
      answered[0],
      'T10:00:00.123000000Z',
      [answered[0], null],
    ]);
    const lines = await textOf(await querySql(ctx, everyone, body, { format: 'ndjson', signal }));
    expect(
      lines
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual(answered.map((timestamp) => ({ timestamp, like: 'T10:00:00.123000000Z', list: [timestamp, null] })));
  });
});

test('a table may keep fewer digits, and refuses what is finer; one from before keeps three', async () => {
  const dataset = newDataset();
  await ingestRows(ctx, {
    dataset,
    table: 'm',
    text: '{"timestamp":"2026-05-01T10:00:00.123456Z"}',
    format: 'json',
    idempotencyKey: undefined,
    declared: { fields: [], defaults: [], timestampPrecision: 6 },
  });
  await expect(send(ctx, dataset, [{ timestamp: '2026-05-01T10:00:00.123456789Z' }])).rejects.toMatchObject({
    extra: { errors: [{ index: 0, field: 'timestamp', reason: 'not-exact' }] },
  });
  await flush(ctx, dataset);
  expect(times((await query(ctx, dataset)).rows)).toEqual(['2026-05-01T10:00:00.123456Z']);
  const { dataset: old } = await newTable(ctx);
  await expect(send(ctx, old, [{ timestamp: '2026-05-01T10:00:00.1234Z' }])).rejects.toMatchObject({
    extra: { errors: [{ index: 0, field: 'timestamp', reason: 'not-exact' }] },
  });
  await send(ctx, old, [{ timestamp: '2026-05-01T10:00:00.123000Z' }]);
  expect(times((await query(ctx, old)).rows)).toEqual(['2026-05-01T10:00:00.123Z']);
  // Between two times that the table can have.
  const range = { start: '2026-05-01T10:00:00.1229999Z', end: '2026-05-01T10:00:00.1230001Z' };
  expect((await query(ctx, old, { timeRange: range })).rows).toHaveLength(1);
  expect((await query(ctx, old, { timeRange: { start: range.end } })).rows).toHaveLength(0);
});

/** Objects of Parquet, as ClickHouse writes them. */
async function parquet(key: string, sql: string): Promise<string> {
  const { body } = await ctx.clickhouse.open({
    settings: {},
    body: `${sql} FORMAT Parquet`,
    timeout_ms: 10_000,
    signal: new AbortController().signal,
  });
  const bytes = new Uint8Array(await new Response(body as ReadableStream).arrayBuffer());
  await ctx.objects.put(key, bytes as unknown as string);
  return key;
}

test('Parquet is imported with all its digits, and refused where a table keeps fewer', async () => {
  const rows = (times: string[], digits: number) =>
    `SELECT toDateTime64(arrayJoin([${times.map((time) => `'${time}'`).join()}]), ${digits}, 'UTC') AS timestamp`;
  const done = async (dataset: string, objects: string[]) => {
    const { id } = await scheduleImport(ctx, dataset, 'm', { format: 'parquet', objects }, undefined);
    for (;;) {
      await runDueJobs(ctx, jobHandlers, ctx.now() + 60_000);
      const job = await readJob(ctx, id);
      if (job.state === 'done' || job.state === 'failed') return job;
    }
  };
  const name = `digits-${process.pid}`;
  const nine = await parquet(
    `imports/${name}-9.parquet`,
    rows(['2026-05-01 10:00:00.123456789', '2026-05-01 10:00:00'], 9),
  );
  const six = await parquet(
    `imports/${name}-6.parquet`,
    rows(['2026-05-01 10:00:00.000001', '2105-12-31 23:59:59.999999'], 6),
  );
  const late = await parquet(`imports/${name}-late.parquet`, rows(['2299-01-01 00:00:00.5'], 6));
  const dataset = newDataset();
  expect(await done(dataset, [nine, six])).toMatchObject({ state: 'done' });
  expect(times((await query(newInstance({ TIMESTORE_KEY_PREFIX: `digits-${process.pid}` }), dataset)).rows)).toEqual([
    '2026-05-01T10:00:00.000Z',
    '2026-05-01T10:00:00.000001Z',
    '2026-05-01T10:00:00.123456789Z',
    '2105-12-31T23:59:59.999999Z',
  ]);
  expect(await done(newDataset(), [late])).toMatchObject({ state: 'failed' });
  const { dataset: old } = await newTable(ctx, 1, []);
  expect(await done(old, [six])).toMatchObject({ state: 'failed' });
});
