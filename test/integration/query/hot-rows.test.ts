import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Table } from '../../../src/catalog/table.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { at, clickhouseAt, flush, newDataset, newInstance, newTable, query, send } from '../support.ts';
import { fields, rawQuery, rowText, start } from './generated.ts';

const ctx = newInstance();
/** Finds nobody where ClickHouse should be. */
const alone = newInstance(clickhouseAt('http://127.0.0.1:1'));

const rowsText = ({ text }: { text: string }) => /"rows":(\[.*\]),"warnings"/s.exec(text)?.[1];

async function sendText({ dataset, name }: Table, rows: string[]): Promise<void> {
  const request = { dataset, table: name, text: rows.join('\n'), format: 'ndjson', idempotencyKey: undefined } as const;
  await ingestRows(ctx, request);
}

test('without ClickHouse the answer is the one that ClickHouse would have given, to the byte', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(rowText, { minLength: 1, maxLength: 30 }),
      fc.array(rawQuery, { minLength: 12, maxLength: 12 }),
      async (rows, queries) => {
        const table = await newTable(ctx, 2, fields);
        await sendText(table, rows);
        for (const each of queries) {
          const [there, here] = [await query(ctx, table.dataset, each), await query(alone, table.dataset, each)];
          expect(here.mode).toBe('hot-buffer-only');
          expect(rowsText(here)).toBe(rowsText(there));
          expect({ columns: here.columns, cursor: here.cursor }).toEqual({
            columns: there.columns,
            cursor: there.cursor,
          });
        }
      },
    ),
    { numRuns: 12, endOnFailure: true },
  );
});

describe('without ClickHouse', () => {
  test('a range that begins after everything flushed is answered, and says from where', async () => {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    await flush(ctx, dataset);
    await send(ctx, dataset, [
      { timestamp: at(3), v: 3 },
      { timestamp: at(1), v: 0 },
    ]);
    const timeRange = { start: new Date(Date.parse(at(1)) + 1).toISOString() };
    const answer = await query(alone, dataset, { timeRange, requireFresh: true });
    expect(answer.rows).toEqual([{ timestamp: at(3), v: 3 }]);
    expect(answer).toMatchObject({ mode: 'hot-buffer-only', streaming: { fresh: true, bufferState: 'ready' } });
    expect(answer.warnings).toEqual([expect.stringContaining('ClickHouse is away')]);
  });

  test.each<[string, object]>([
    ['a range that ClickHouse may have rows of', { timeRange: { start: at(1) } }],
    ['a range without a beginning', {}],
    [
      'an aggregate',
      { timeRange: { start: at(2) }, downsample: { intervalUnit: 'day', aggregations: [{ function: 'count' }] } },
    ],
    [
      'a regular expression',
      { timeRange: { start: at(2) }, filters: { columns: [{ column: 's', op: 'matches', value: 'a' }] } },
    ],
  ])('%s gets no answer', async (_, body) => {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(1), s: 'a' }]);
    await flush(ctx, dataset);
    await send(ctx, dataset, [{ timestamp: at(3), s: 'b' }]);
    await expect(query(alone, dataset, body)).rejects.toMatchObject({ code: 'unavailable', store: 'clickhouse' });
  });

  test('a table of whose flushes the buffer has forgotten gets no answer', async () => {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    await flush(ctx, dataset);
    const table = await newTable(ctx);
    const { tableOf } = await import('../support.ts');
    const lost = await tableOf(ctx, dataset);
    await ctx.redis.del(ctx.keys.state(lost, 0), ctx.keys.log(lost, 0));
    await send(ctx, dataset, [{ timestamp: at(3), v: 3 }]);
    await expect(query(alone, dataset, { timeRange: { start: at(2) } })).rejects.toMatchObject({ code: 'unavailable' });
    // One that was never flushed is known to be there in whole.
    await sendText(table, [`{"timestamp":"${at(1)}","v":1}`]);
    expect((await query(alone, table.dataset, { timeRange: { start } })).rows).toHaveLength(1);
  });
});
