import { describe, expect, test } from 'vitest';
import { flush, newDataset, newInstance, query, type Row, send, sql } from '../support.ts';

const ctx = newInstance();

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
});
