import type { CastingContext } from 'csv-parse';
import { parse } from 'csv-parse/sync';
import { parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { describe, expect } from 'vitest';
import { changeTable, deleteTable } from '../../../src/catalog/change-table.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { type ExportRequest, exportFolder, scheduleExport } from '../../../src/operations/export/export.ts';
import { type Export, listExports, readExport, removeExport } from '../../../src/operations/export/published.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { removeOrphanObjects } from '../../../src/operations/reconcile/orphans.ts';
import { scheduleRowChange } from '../../../src/operations/row-changes/change-rows.ts';
import type { ClickHouse, Request } from '../../../src/stores/clickhouse/client.ts';
import { test } from '../fixtures.ts';
import { at, flush, type Instance, newDataset, newInstance, query, type Row, send, through } from '../support.ts';
import { withLargeDay, workUntilOver } from './support.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `export-${process.pid}` };
const ctx = newInstance(prefix);

/** Rows of every type in several days and lanes, some of them still in the buffer. */
async function withEverything(): Promise<string> {
  const dataset = newDataset();
  const big = '9007199254740993';
  await send(ctx, dataset, [
    { timestamp: at(1), v: 0.1, s: 'a,"b"\n\\N', i: 1, ok: true, j: { x: [1, 'é\n"'] }, l: ['p', `'q'`] },
  ]);
  await changeTable(ctx, dataset, 'm', { lanes: 3 });
  for (let n = 2; n < 30; n += 1) {
    const s = [null, '', 'NULL', 'é\t', '\\'][n % 5];
    await send(ctx, dataset, [
      { timestamp: at(n, (n % 3) + 1), v: n / 3, s, i: n, ok: n % 2 === 0, j: n % 2 ? null : [n], l: [] },
      JSON.parse(`{"timestamp":"${at(n, 4)}","v":${-n},"big":0}`) as object,
    ]);
    if (n === 20) await flush(ctx, dataset);
  }
  await send(ctx, dataset, [{ timestamp: at(59, 5), s: big }]);
  return dataset;
}

async function exportOf(dataset: string, request: Partial<ExportRequest> = {}, own: Instance = ctx): Promise<Export> {
  const job = await scheduleExport(own, dataset, 'm', { format: 'ndjson', ...request }, undefined);
  const over = await workUntilOver(own, job);
  expect([over.state, over.error]).toEqual(['done', null]);
  return await readExport(ctx, job.id);
}

async function objectsOf(found: Export): Promise<ArrayBuffer[]> {
  return await Promise.all(
    found.objects.map(async ({ key, bytes }) => {
      const answer = await fetch(await ctx.objects.presign(key, 60));
      const content = await answer.arrayBuffer();
      expect([answer.status, content.byteLength]).toEqual([200, bytes]);
      return content;
    }),
  );
}

async function ndjsonOf(found: Export): Promise<Row[]> {
  const texts = (await objectsOf(found)).map((content) => new TextDecoder().decode(content));
  return texts.flatMap((text) =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Row),
  );
}

const byTime = [{ column: 'timestamp' }];

describe('an export', () => {
  test('has every row and value of each day, as the API answers them, in each format', async () => {
    const dataset = await withEverything();
    const { rows } = await query(ctx, dataset, { orderBy: byTime, limit: 1_000 });
    const sorted = (each: Row[]) => each.map((row) => JSON.stringify(row)).sort();

    const ndjson = await exportOf(dataset);
    expect(sorted(await ndjsonOf(ndjson))).toEqual(sorted(rows));
    expect(ndjson.objects.map(({ day, rows: n }) => [day, n])).toEqual([
      ['2026-05-01', 10],
      ['2026-05-02', 9],
      ['2026-05-03', 10],
      ['2026-05-04', 28],
      ['2026-05-05', 1],
    ]);
    expect(ndjson).toMatchObject({ rows: 58, bytes: ndjson.objects.reduce((sum, { bytes }) => sum + bytes, 0) });

    // By readers that have nothing of ClickHouse in them.
    const parquet = await objectsOf(await exportOf(dataset, { format: 'parquet' }));
    const fromParquet = (await Promise.all(parquet.map((file) => parquetReadObjects({ file, compressors })))).flat();
    expect(sorted(fromParquet.map((row) => plain(row)))).toEqual(sorted(rows));

    const csv = await objectsOf(await exportOf(dataset, { format: 'csv' }));
    const fromCsv = csv.flatMap((file) => {
      const cast = (text: string, { quoting, header, column }: CastingContext) => {
        // As they are sent: lists are JSON in CSV.
        if (!header && column === 'l') return JSON.parse(text) as string[];
        if (header || quoting) return text;
        return text === '' ? null : (JSON.parse(text) as number | boolean);
      };
      return parse(Buffer.from(file), { columns: true, cast }) as unknown as Row[];
    });
    expect(sorted(fromCsv)).toEqual(sorted(rows));
  });

  // CSV is text as NDJSON is.
  test.each(['parquet', 'ndjson'] as const)('of a large day has its rows, as %s', async (format) => {
    const { dataset, rows } = await withLargeDay(ctx);
    const found = await exportOf(dataset, { format });
    expect(found).toMatchObject({ rows, objects: [{ day: '2026-05-01' }] });
    expect(found.bytes).toBeGreaterThan(50_400_000);
  });

  test('is of what was acknowledged before it, of its range and columns, however long it takes', async ({
    dataset,
  }) => {
    await send(
      ctx,
      dataset,
      [1, 2, 3].map((day) => ({ timestamp: at(1, day), v: day, w: 'x' })),
    );
    const timeRange = { start: at(1, 2), end: at(1, 3) };
    const key = `key-${dataset}`;
    const request: ExportRequest = { format: 'ndjson', timeRange, columns: ['v'] };
    const job = await scheduleExport(ctx, dataset, 'm', request, key);
    await send(ctx, dataset, [{ timestamp: at(2, 2), v: 99, w: 'late' }]);
    await workUntilOver(ctx, job);
    expect(await ndjsonOf(await readExport(ctx, job.id))).toEqual([{ v: 2 }]);
    // Asked for again it is the same; what came since can be asked for by its token.
    expect((await scheduleExport(ctx, dataset, 'm', request, key)).state).toBe('done');
    await expect(scheduleExport(ctx, dataset, 'm', { format: 'csv' }, key)).rejects.toMatchObject({
      code: 'key-reused',
    });
    const { watermark, from_ms, to_ms } = await readExport(ctx, job.id);
    expect([from_ms, to_ms]).toEqual([timeRange.start, timeRange.end].map((time) => Date.parse(time)));
    expect((await query(ctx, dataset, { afterWatermark: watermark })).rows).toMatchObject([{ v: 99 }]);
    await expect(scheduleExport(ctx, dataset, 'm', { format: 'csv', columns: ['none'] }, undefined)).rejects.toThrow(
      'no field',
    );
    await expect(scheduleExport(ctx, dataset, 'n', { format: 'csv' }, undefined)).rejects.toMatchObject({
      code: 'not-found',
    });
  });

  test('is of one moment: rows that are deleted while it is written are in none of its days, or in all', async ({
    dataset,
  }) => {
    const days = [1, 2, 3, 4];
    await send(
      ctx,
      dataset,
      days.flatMap((day) => [
        { timestamp: at(1, day), v: 1 },
        { timestamp: at(2, day), v: 2 },
      ]),
    );
    let written = 0;
    const sending = async (client: ClickHouse, request: Request) => {
      const answer = await client.send(request);
      if (String(request.body).startsWith('INSERT INTO FUNCTION')) written += 1;
      if (written !== 2) return answer;
      written += 1;
      const filters = { columns: [{ column: 'v', op: 'eq' as const, value: 1 }] };
      const change = await scheduleRowChange(ctx, { dataset, table: 'm', request: { rows: { filters } } });
      await workUntilOver(ctx, change);
      return answer;
    };
    const own = through(newInstance(prefix), {
      clickhouse: (client) => ({ ...client, send: (request) => sending(client, request) }),
    });
    const found = await exportOf(dataset, {}, own);
    expect((await ndjsonOf(found)).map(({ v }) => v)).toEqual([2, 2, 2, 2]);
    // One day is wholly deleted while the others are there.
    expect(found.objects.map(({ rows }) => rows)).toEqual([1, 1, 1, 1]);
    expect(written).toBeGreaterThan(6);
  });

  test('that fails at any call is exact when it is done', async ({ dataset }) => {
    await send(
      ctx,
      dataset,
      [1, 2].map((day) => ({ timestamp: at(1, day), v: day })),
    );
    let survived = false;
    // `npm test` tries every third call, `npm run test:soak -- points` each.
    const stride = process.env.FAULT_POINTS === 'all' ? 1 : 3;
    for (let n = 1; !survived; n += stride) {
      const failing = newInstance(prefix);
      let calls = 0;
      const fails =
        <Args extends unknown[], Answer>(call: (...args: Args) => Promise<Answer>, isLate: boolean) =>
        async (...args: Args): Promise<Answer> => {
          calls += 1;
          if (calls !== n) return await call(...args);
          // Before its effect or after it.
          if (isLate) await call(...args);
          throw new Error('the connection broke');
        };
      const job = await scheduleExport(ctx, dataset, 'm', { format: 'ndjson' }, undefined);
      const { objects } = failing;
      const clickhouse = (client: ClickHouse) => ({ ...client, send: fails(client.send.bind(client), n % 2 === 0) });
      Object.assign(failing, through(failing, { clickhouse }));
      failing.objects = { ...objects, put: fails(objects.put, n % 2 === 0), list: fails(objects.list, false) };
      await runDueJobs(failing, jobHandlers, failing.now() + 60_000);
      survived = calls < n;
      await ctx.postgres.rows(`update jobs set due_at = now() where id = $1 and state <> 'done'`, [job.id]);
      expect((await workUntilOver(ctx, job)).state).toBe('done');
      expect(await ndjsonOf(await readExport(ctx, job.id))).toMatchObject([{ v: 1 }, { v: 2 }]);
    }
  });

  test('of a table that was deleted meanwhile fails, and says so', async ({ dataset }) => {
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    const job = await scheduleExport(ctx, dataset, 'm', { format: 'csv' }, undefined);
    await deleteTable(ctx, dataset, 'm', 3_600);
    const { state, error } = await workUntilOver(ctx, job);
    expect([state, error]).toEqual(['failed', expect.stringContaining('was deleted before the export was complete')]);
  });

  test('of no rows has no objects; it is listed until it is deleted, with its objects', async ({ dataset }) => {
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    const empty = await exportOf(dataset, { timeRange: { start: '2030-01-01T00:00:00Z' } });
    expect([empty.rows, empty.objects]).toEqual([0, []]);
    const found = await exportOf(dataset);
    expect((await listExports(ctx, { dataset }, 10)).map(({ id }) => id)).toEqual([found.id, empty.id]);
    const folder = exportFolder(dataset, 'm', found.id);
    expect((await ctx.objects.list(folder)).map(({ key }) => key.slice(folder.length))).toEqual([
      '2026-05-01.ndjson',
      'manifest.json',
    ]);
    await removeExport(ctx, found, folder);
    expect(await ctx.objects.list(folder)).toEqual([]);
    expect((await listExports(ctx, { dataset }, 10)).map(({ id }) => id)).toEqual([empty.id]);
  });

  test('of more objects than one request can remove is gone after several, and listed until then', async ({
    dataset,
  }) => {
    const days = [1, 2, 3, 4, 5];
    await send(
      ctx,
      dataset,
      days.map((day) => ({ timestamp: at(1, day), v: day })),
    );
    const found = await exportOf(dataset);
    const folder = exportFolder(dataset, 'm', found.id);
    const removesThree = (): Instance => {
      let calls = 0;
      const remove = async (key: string) => {
        calls += 1;
        if (calls > 3) throw new Error('too many subrequests');
        await ctx.objects.remove(key);
      };
      return { ...newInstance(prefix), objects: { ...ctx.objects, remove } };
    };
    await expect(removeExport(removesThree(), found, folder)).rejects.toThrow('too many subrequests');
    expect(await ctx.objects.list(folder)).toHaveLength(3);
    expect(await listExports(ctx, { dataset }, 10)).toHaveLength(1);
    await removeExport(removesThree(), found, folder);
    expect(await ctx.objects.list(folder)).toEqual([]);
    expect(await listExports(ctx, { dataset }, 10)).toEqual([]);
  });

  test('that was never published is removed after a while, and no other', async ({ dataset }) => {
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    const found = await exportOf(dataset);
    const lost = `exports/${dataset}/m/lost/2026-05-01.csv`;
    await ctx.objects.put(lost, 'x');
    await removeOrphanObjects(ctx);
    expect(await ctx.objects.get(lost)).toBe('x');
    // A day later; what other tests have there is theirs.
    const own = async (begin: string, options?: Parameters<typeof ctx.objects.list>[1]) =>
      (await ctx.objects.list(begin, options)).filter(({ key }) => key.includes(dataset));
    const later = {
      ...newInstance(prefix),
      objects: { ...ctx.objects, list: own },
      now: () => Date.now() + 25 * 3_600_000,
    };
    await removeOrphanObjects(later);
    expect(await ctx.objects.get(lost)).toBeUndefined();
    expect((await ndjsonOf(found)).length).toBe(1);
  });
});

/** As the API answers it. */
function plain(row: Record<string, unknown>): Row {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      typeof value === 'bigint' ? Number(value) : value instanceof Date ? value.toISOString() : value,
    ]),
  ) as Row;
}
