import { beforeEach, describe, expect, test } from 'vitest';
import { changeTable } from '../../../src/catalog/change-table.ts';
import { drainManifestOutbox } from '../../../src/catalog/manifest-outbox.ts';
import { StoreError } from '../../../src/core/errors.ts';
import { qualifiedName } from '../../../src/core/identifiers.ts';
import { auditDue } from '../../../src/operations/row-audit/audit-due.ts';
import { auditTable } from '../../../src/operations/row-audit/audit-table.ts';
import type { Table } from '../../../src/schema/table.ts';
import type { Params } from '../../../src/stores/postgres/client.ts';
import { metricsText } from '../../../src/telemetry/metrics-text.ts';
import { at, flush, newDataset, newInstance, onStored, send, tableOf } from '../support.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `audit-${process.pid}` };
const ctx = newInstance(prefix);

beforeEach(async () => {
  await ctx.redis.del(ctx.keys.outbox);
});

/** Rows in two partitions, flushed in two seals and on record, and one that waits. */
async function audited(): Promise<Table> {
  const dataset = newDataset();
  for (const second of [1, 2]) {
    await send(ctx, dataset, [
      { timestamp: at(second), v: second },
      { timestamp: at(second, 2), v: second },
    ]);
    await flush(ctx, dataset);
  }
  await send(ctx, dataset, [{ timestamp: at(3), v: 3 }]);
  return await tableOf(ctx, dataset);
}

const clean = { ok: true, missing: 0, doubled: 0, unaccounted: 0, partitions: [] };

test('what adds up is said to: sequences, the buffer, manifests and ClickHouse', async () => {
  const table = await audited();
  expect(await auditTable(ctx, table)).toMatchObject({
    ...clean,
    compared: 2,
    lanes: [
      {
        lane: 0,
        sequence: 3,
        watermark: 2,
        rebuilt: [],
        buffer: { batches: { expected: 1, found: 1 }, rows: { expected: 1, found: 1 }, isWhole: true },
      },
    ],
  });
});

const delete_ = (table: Table, where: string) =>
  onStored(ctx, table, `ALTER TABLE ${qualifiedName(table)} DELETE WHERE ${where} SETTINGS mutations_sync = 1`);

test('a row that is gone is missing, in its lane and partition', async () => {
  const table = await audited();
  await delete_(table, "toDate(timestamp) = '2026-05-02' AND v = 1");
  expect(await auditTable(ctx, table)).toMatchObject({
    ok: false,
    missing: 1,
    doubled: 0,
    unaccounted: 0,
    partitions: [{ lane: 0, partition: '20260502', expected: 2, found: 1, missing: 1 }],
  });
});

test('a row that is there twice is doubled', async () => {
  const table = await audited();
  const name = qualifiedName(table);
  await onStored(
    ctx,
    table,
    `INSERT INTO ${name} SELECT * FROM ${name} WHERE v = 2 AND toDate(timestamp) = '2026-05-01' SETTINGS insert_deduplicate = 0, deduplicate_insert_select = 'disable'`,
  );
  expect(await auditTable(ctx, table)).toMatchObject({ ok: false, missing: 0, doubled: 1, unaccounted: 0 });
});

test('a row on no record is unaccounted for, and another in the place of one is both', async () => {
  const table = await audited();
  const name = qualifiedName(table);
  const add = (seq: number, row: number) =>
    onStored(
      ctx,
      table,
      `INSERT INTO ${name} (_lane, _seq, _row, timestamp, v) VALUES (0, ${seq}, ${row}, '2026-05-01 10:00:01', 9)`,
    );
  await add(1, 7);
  expect(await auditTable(ctx, table)).toMatchObject({ ok: false, missing: 0, doubled: 0, unaccounted: 1 });
  await delete_(table, "v = 1 AND toDate(timestamp) = '2026-05-01'");
  expect(await auditTable(ctx, table)).toMatchObject({ ok: false, missing: 1, doubled: 0, unaccounted: 1 });
});

test('rows that were deleted on purpose are accounted for', async () => {
  const table = await audited();
  await ctx.postgres.rows(
    'insert into deletions (dataset, physical_table, lane, partition, rows) values ($1, $2, 0, $3, 1)',
    [table.dataset, table.physical, '20260502'],
  );
  await delete_(table, "toDate(timestamp) = '2026-05-02' AND v = 1");
  expect(await auditTable(ctx, table)).toMatchObject({
    ok: true,
    missing: 0,
  });
  await delete_(table, "toDate(timestamp) = '2026-05-02' AND v = 2");
  expect(await auditTable(ctx, table)).toMatchObject({ ok: false, missing: 1 });
});

test('rows past their retention are accounted for, others are not', async () => {
  const dataset = newDataset();
  const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();
  await send(ctx, dataset, [
    { timestamp: daysAgo(0), v: 0 },
    { timestamp: daysAgo(30), v: 30 },
  ]);
  await flush(ctx, dataset);
  await changeTable(ctx, dataset, 'm', { retention: { totalDays: 7 } });
  const table = await tableOf(newInstance(prefix), dataset);
  await delete_(table, 'v = 30');
  expect(await auditTable(ctx, table)).toMatchObject({ ok: true, missing: 0, partitions: [{ expired: 1 }] });
  await delete_(table, 'v = 0');
  expect(await auditTable(ctx, table)).toMatchObject({ ok: false, missing: 1 });
});

test('a log that differs from its state is reported', async () => {
  const table = await audited();
  await ctx.redis.xdel(ctx.keys.log(table, 0), '3-0');
  const audit = await auditTable(ctx, table);
  expect(audit).toMatchObject({ ok: false, missing: 0, lanes: [{ buffer: { isWhole: false } }] });
});

describe('manifests that are missing', () => {
  test('because the outbox was full are rebuilt from ClickHouse, once, with what they would have said', async () => {
    const full = newInstance({ ...prefix, TIMESTORE_OUTBOX_MAX: '1' });
    const dataset = newDataset();
    for (const second of [1, 2, 3]) {
      await send(full, dataset, [
        { timestamp: at(second), v: second },
        { timestamp: at(second, 2), v: second },
      ]);
      await flush(full, dataset);
    }
    const table = await tableOf(full, dataset);
    const audit = await auditTable(ctx, table);
    expect(audit).toMatchObject({ ...clean, lanes: [{ rebuilt: [{ from: 2, to: 3 }] }] });
    expect(await auditTable(ctx, table)).toMatchObject({ ...clean, lanes: [{ rebuilt: [] }] });
    const manifests = await ctx.postgres.rows(
      'select seq_from, seq_to, rows, trigger from manifests where dataset = $1 order by seq_from',
      [dataset],
    );
    expect(manifests).toEqual([
      { seq_from: '1', seq_to: '1', rows: '2', trigger: 'admin' },
      { seq_from: '2', seq_to: '3', rows: '4', trigger: 'rebuild' },
    ]);
  });

  test('because Postgres lost them, in the middle and at the end', async () => {
    const dataset = newDataset();
    for (const second of [1, 2, 3, 4]) {
      await send(ctx, dataset, [{ timestamp: at(second), v: second }]);
      await flush(ctx, dataset);
    }
    await drainManifestOutbox(ctx);
    const lost = '(select id from manifests where dataset = $1 and seq_from in (2, 4))';
    await ctx.postgres.rows(`delete from manifest_partitions where manifest_id in ${lost}`, [dataset]);
    await ctx.postgres.rows(`delete from manifests where id in ${lost}`, [dataset]);
    expect(await auditTable(ctx, await tableOf(ctx, dataset))).toMatchObject({
      ...clean,
      lanes: [
        {
          rebuilt: [
            { from: 2, to: 2 },
            { from: 4, to: 4 },
          ],
        },
      ],
    });
  });

  test('are not made for sequences that a lane set up again left out', async () => {
    const table = await audited();
    await flush(ctx, table.dataset);
    await ctx.redis.del(ctx.keys.state(table, 0), ctx.keys.log(table, 0));
    await send(ctx, table.dataset, [{ timestamp: at(4), v: 4 }]);
    await flush(ctx, table.dataset);
    const audit = await auditTable(ctx, table);
    expect(audit).toMatchObject({ ...clean, lanes: [{ rebuilt: [] }] });
  });

  test('in the outbox are not missing', async () => {
    const table = await audited();
    expect(await ctx.redis.xlen(ctx.keys.outbox)).toBe(2);
    expect(await auditTable(ctx, table)).toMatchObject({ ...clean, lanes: [{ rebuilt: [] }] });
    expect(await ctx.redis.xlen(ctx.keys.outbox)).toBe(0);
  });
});

test('an audit while rows are written and flushed is clean', async () => {
  const table = await audited();
  let going = true;
  const writer = (async () => {
    for (let n = 0; going; n += 1) await send(ctx, table.dataset, [{ timestamp: at(n % 60, 1 + (n % 5)), v: n }]);
  })();
  const flusher = (async () => {
    while (going) await flush(ctx, table.dataset);
  })();
  for (let n = 0; n < 5; n += 1) {
    expect(await auditTable(newInstance(prefix), table)).toMatchObject({
      ok: true,
      missing: 0,
      doubled: 0,
      unaccounted: 0,
    });
  }
  going = false;
  await Promise.all([writer, flusher]);
});

test('the scheduled audit takes what is due, goes on past what cannot be audited, and is in the metrics', async () => {
  const [good, bad] = [await audited(), await audited()];
  await delete_(bad, 'v = 1');
  const lost = await audited();
  await ctx.redis.del(ctx.keys.state(lost, 0));
  // Only these: others' tables are not this one's to audit.
  const own = [good, bad, lost].map(({ dataset }) => dataset);
  const instance = newInstance(prefix);
  const { postgres } = instance;
  instance.postgres = {
    ...postgres,
    rows: <Row>(sql: string, params: Params = {}) =>
      sql.includes('left join audits')
        ? postgres.rows<Row>(sql.replace('where', 'where t.dataset = any($own) and'), { ...params, own })
        : postgres.rows<Row>(sql, params),
  };
  expect(await auditDue(instance, instance.now() + 60_000)).toBe(2);
  expect(instance.events).toContainEqual(expect.objectContaining({ event: 'audit-failed', dataset: lost.dataset }));
  const text = await metricsText(ctx);
  expect(text).toContain(`timestore_audit_missing_rows{dataset="${good.dataset}",table="m"} 0\n`);
  expect(text).toContain(`timestore_audit_missing_rows{dataset="${bad.dataset}",table="m"} 2\n`);
  expect(text).toContain(`timestore_audit_ok{dataset="${bad.dataset}",table="m"} 0\n`);
  expect(await auditDue(instance, instance.now() + 60_000)).toBe(0);
});

test('without one of the stores nothing is concluded', async () => {
  const table = await audited();
  const away = () => Promise.reject(new StoreError('postgres', 'did not answer', undefined));
  const instance = { ...newInstance(prefix), postgres: { rows: away, transaction: away } };
  await expect(auditTable(instance, table)).rejects.toBeInstanceOf(StoreError);
});
