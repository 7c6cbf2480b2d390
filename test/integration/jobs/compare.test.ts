import { describe, expect, test } from 'vitest';
import { scheduleExport } from '../../../src/operations/export/export.ts';
import { readExport } from '../../../src/operations/export/published.ts';
import { scheduleImport } from '../../../src/operations/import/request.ts';
import { type CompareRequest, scheduleImportVerification } from '../../../src/operations/import/verify.ts';
import { scheduleRowChange } from '../../../src/operations/row-changes/change-rows.ts';
import { at, expectStored, flush, newDataset, newInstance, query, type Row, send, tableOf } from '../support.ts';
import { workUntilOver } from './support.ts';

const ctx = newInstance({ TIMESTORE_KEY_PREFIX: `compare-${process.pid}` });

let objects = 0;
async function put(rows: object[]): Promise<string> {
  objects += 1;
  const key = `imports/compare-${process.pid}-${objects}.ndjson`;
  await ctx.objects.put(key, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return key;
}

async function compare(dataset: string, request: CompareRequest) {
  const job = await workUntilOver(ctx, await scheduleImportVerification(ctx, dataset, 'm', request, undefined));
  expect([job.state, job.error]).toEqual(['done', null]);
  return job.result as Record<string, unknown>;
}

const ndjson = (keys: string[]): CompareRequest => ({ format: 'ndjson', objects: keys });

/** Some in the buffer, some in ClickHouse, some equal. */
async function filled(): Promise<{ dataset: string; rows: (Row & { v: number | null })[] }> {
  const dataset = newDataset();
  const rows = Array.from({ length: 30 }, (_, i) => ({
    timestamp: at(i % 10, 1 + (i % 3)),
    v: i % 7 === 0 ? null : (i % 10) / 3,
    s: ['a', '', null][i % 3] ?? null,
    l: i % 2 === 0 ? ['x'] : [],
  }));
  await send(ctx, dataset, rows.slice(0, 20));
  await flush(ctx, dataset);
  await send(ctx, dataset, rows.slice(20));
  return { dataset, rows };
}

describe('a comparison', () => {
  test('finds nothing where rows are the same, in whatever order and objects', async () => {
    const { dataset, rows } = await filled();
    const found = await compare(
      dataset,
      ndjson([await put(rows.toReversed().slice(0, 13)), await put(rows.slice(0, 17))]),
    );
    expect(found).toMatchObject({
      equal: true,
      rows: { source: 30, table: 30 },
      days: { compared: 3, different: 0 },
      differing: [],
      differingRows: [],
      wrongRows: 0,
      columns: { onlyInSource: [], onlyInTable: [] },
    });
    const exported = await workUntilOver(
      ctx,
      await scheduleExport(ctx, dataset, 'm', { format: 'parquet' }, undefined),
    );
    const keys = (await readExport(ctx, exported.id)).objects.map(({ key }) => key);
    expect(await compare(dataset, { format: 'parquet', objects: keys })).toMatchObject({ equal: true });
  });

  test('finds each value that differs, each row that is missing or there once more, and says where', async () => {
    const { dataset, rows } = await filled();
    const changed = rows.map((row, i) => (i === 4 ? { ...row, v: 99.5 } : row));
    expect(await compare(dataset, ndjson([await put(changed)]))).toMatchObject({
      equal: false,
      rows: { source: 30, table: 30 },
      days: { compared: 3, different: 1 },
      differing: [
        {
          day: '2026-05-02',
          rows: { source: 10, table: 10 },
          columns: [{ name: 'v', source: { max: '99.5', sum: expect.any(String) }, table: { max: '3' } }],
        },
      ],
      differingRows: expect.arrayContaining([
        { source: 1, table: 0, row: expect.objectContaining({ timestamp: at(4, 2), v: 99.5 }) },
      ]),
    });
    const missing = await compare(dataset, ndjson([await put(rows.slice(1))]));
    expect(missing).toMatchObject({ equal: false, rows: { source: 29, table: 30 }, days: { different: 1 } });
    const again = await compare(dataset, ndjson([await put([...rows, rows[0] as Row])]));
    expect(again).toMatchObject({
      equal: false,
      rows: { source: 31, table: 30 },
      differingRows: [{ source: 2, table: 1, row: expect.objectContaining({ timestamp: rows[0]?.timestamp }) }],
    });
    // Values that are the same in each column, and make up other rows.
    const swapped = rows.map((row, i) =>
      i === 3 ? { ...row, v: rows[6]?.v } : i === 6 ? { ...row, v: rows[3]?.v } : row,
    );
    expect(await compare(dataset, ndjson([await put(swapped)]))).toMatchObject({
      equal: false,
      differing: [{ columns: [] }],
    });
    // Null and the empty string.
    const nothing = rows.map((row) => (row.s === '' ? { ...row, s: null } : row));
    expect(await compare(dataset, ndjson([await put(nothing)]))).toMatchObject({ equal: false });
    const wrong = rows.map((row, i) => (i === 2 ? { ...row, v: 'x' } : row));
    expect(await compare(dataset, ndjson([await put(wrong)]))).toMatchObject({
      equal: false,
      wrongRows: 1,
      errors: [{ row: 2, field: 'v', value: 'x' }],
    });
  });

  test('is of its range, of the columns of both, and of what was acknowledged before it', async () => {
    const { dataset, rows } = await filled();
    const extra = rows.map((row) => ({ timestamp: row.timestamp, v: row.v, more: 1 }));
    const key = await put(extra);
    expect(await compare(dataset, ndjson([key]))).toMatchObject({
      equal: false,
      days: { different: 0 },
      columns: { compared: ['timestamp', 'v'], onlyInSource: ['more'], onlyInTable: ['s', 'l'] },
    });
    const chosen = { ...ndjson([key]), columns: ['timestamp', 'v'] };
    expect(await compare(dataset, chosen)).toMatchObject({ equal: true, columns: { onlyInTable: [] } });
    const job = await scheduleImportVerification(ctx, dataset, 'm', chosen, undefined);
    await send(ctx, dataset, [{ timestamp: at(1, 2), v: 5 }]);
    expect((await workUntilOver(ctx, job)).result).toMatchObject({ equal: true });
    expect(await compare(dataset, chosen)).toMatchObject({ equal: false, rows: { source: 30, table: 31 } });
    const timeRange = { start: at(0, 3) };
    expect(await compare(dataset, { ...chosen, timeRange })).toMatchObject({
      equal: true,
      rows: { source: 10, table: 10 },
    });
  });
});

describe('an import of what is missing only', () => {
  test('brings rows that the table has less of than the objects, and no others', async () => {
    const { dataset, rows } = await filled();
    const gone = { filters: { columns: [{ column: 's', op: 'eq' as const, value: 'a' }] } };
    await workUntilOver(ctx, await scheduleRowChange(ctx, { dataset, table: 'm', request: { rows: gone } }));
    // The table may say more of a row than the objects do.
    const correction = {
      rows: { filters: { columns: [{ column: 'v', op: 'lt' as const, value: 1 }] } },
      set: { w: 'x' },
    };
    await send(ctx, dataset, [{ timestamp: at(9, 9), v: 0, s: 'w', l: [], w: '' }]);
    await workUntilOver(ctx, await scheduleRowChange(ctx, { dataset, table: 'm', request: correction }));
    const added = { filters: { columns: [{ column: 's', op: 'eq' as const, value: 'w' }] } };
    await workUntilOver(ctx, await scheduleRowChange(ctx, { dataset, table: 'm', request: { rows: added } }));
    const whole = [...rows, rows[1] as Row, rows[1] as Row, { timestamp: at(3, 9), v: 7, s: 'new', l: [] }];
    const objectsOf = [await put(whole.slice(0, 11)), await put(whole.slice(11))];
    const request = { format: 'ndjson', objects: objectsOf, missingOnly: true } as const;
    for (const expected of [10 + 3, 0]) {
      const job = await workUntilOver(ctx, await scheduleImport(ctx, dataset, 'm', request, undefined));
      expect([job.state, job.error, job.result]).toMatchObject(['done', null, { read: 33, rows: expected }]);
      const compared = { ...ndjson(objectsOf), columns: ['timestamp', 'v', 's', 'l'] };
      expect(await compare(dataset, compared)).toMatchObject({ equal: true, rows: { source: 33, table: 33 } });
    }
    expect((await query(ctx, dataset, { limit: 100 })).rows).toHaveLength(33);
    await flush(ctx, dataset);
    await expectStored(ctx, await tableOf(ctx, dataset), 33);
  });
});
