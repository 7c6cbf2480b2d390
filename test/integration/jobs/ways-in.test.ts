import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { deleteTable } from '../../../src/catalog/change-table.ts';
import { atAllRows } from '../../../src/catalog/lane-location.ts';
import { type IngestRequest, ingestRows } from '../../../src/ingest/ingest.ts';
import { createJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { discardRecords, openRecords, replayRecords } from '../../../src/operations/quarantine/replay.ts';
import type { RowFormat } from '../../../src/schema/prepare.ts';
import type { Field } from '../../../src/schema/types.ts';
import { useCli } from '../../cli/support.ts';
import { useWorker } from '../http/worker.ts';
import { at, flush, newDataset, newInstance, query, tableOf } from '../support.ts';
import { all, fields as typeFields } from '../type-values.ts';
import { badLines, csvTexts, keptLines, time } from './door-rows.ts';
import { workUntilOver } from './support.ts';

/** What a request stores is stored the same by files that are sent, by replays of quarantine, and by backups. */
const prefix = { TIMESTORE_KEY_PREFIX: `ways-${process.pid}` };
const ctx = newInstance(prefix);
/** Has room for a timestamp alone in a new table: rows with more are set aside. */
const narrow = newInstance({ ...prefix, TIMESTORE_TABLE_FIELDS_MAX: '1' });
const call = useWorker(prefix);
const cli = useCli();

type Rows = { text: string; format: 'ndjson' | 'csv'; fields?: Field[] };

const send = async ({ dataset, ...request }: { dataset: string } & Partial<IngestRequest>, own = ctx) =>
  await ingestRows(own, { dataset, table: 'm', text: '', format: 'ndjson', idempotencyKey: undefined, ...request });

const declaredOf = (fields: Field[] = []) => ({ declared: { fields: withoutTime(fields), defaults: [] } });
const withoutTime = (fields: Field[]) => fields.filter(({ name }) => name !== 'timestamp');

/** A dataset with a table of certain fields and no rows of the second 59 but one. */
async function declared(fields: Field[], own = ctx): Promise<string> {
  const dataset = newDataset();
  await send({ dataset, text: `{${time(59)}}`, ...declaredOf(fields) }, own);
  return dataset;
}

async function sentRows({ fields, ...rows }: Rows): Promise<string> {
  const dataset = newDataset();
  await send({ dataset, ...rows, ...(fields && declaredOf(fields)) });
  return dataset;
}

const fieldsOf = async (dataset: string) => (await tableOf(newInstance(prefix), dataset)).schema.fields;

/** All that ClickHouse has of rows that were sent: as it is answered, and its bytes. */
async function storedIn(dataset: string) {
  await flush(newInstance(prefix), dataset);
  const own = newInstance(prefix);
  const table = await tableOf(own, dataset);
  const columns = [...table.schema.fields].sort((a, b) => (a.name < b.name ? -1 : 1));
  const orderBy = [{ column: 'timestamp' }];
  const asked = { columns: columns.map(({ name }) => name), orderBy, limit: 1_000 };
  const { text } = await query(own, dataset, { ...asked, timeRange: { end: at(59) } });
  const { node: server, nameOf } = atAllRows(own, [table]);
  const quoted = columns.map(({ name }) => `\`${name.replace(/[\\`]/g, '\\$&')}\``);
  const bytes = await server.clickhouse.rows<{ row: string }>(
    `SELECT hex(formatRow('RowBinary', ${quoted.join(', ')})) AS row FROM ${nameOf(table)}
      WHERE timestamp < '2026-05-01 10:00:59' ORDER BY timestamp, row`,
  );
  return {
    fields: columns,
    // The text, in which no digit has been read as a number.
    rows: text.slice(text.indexOf('"rows":['), text.lastIndexOf('}],')),
    bytes: bytes.map(({ row }) => row),
  };
}

/** Rows of every type, and texts of NDJSON and CSV in which types are found out. */
const tables: [string, Rows][] = [
  [
    'every type',
    { text: all('sent').join('\n').replaceAll('T00:00:', 'T10:00:'), format: 'ndjson', fields: typeFields },
  ],
  ['NDJSON', { text: keptLines.join('\n'), format: 'ndjson' }],
  ...csvTexts.map((text, i): [string, Rows] => [`CSV, ends of lines ${i}`, { text: `\ufeff${text}`, format: 'csv' }]),
];

let files = 0;
async function ingestFile(dataset: string, { text, format }: Pick<Rows, 'text' | 'format'>, ...more: string[]) {
  files += 1;
  const path = join(cli.home, `${files}.${format}`);
  writeFileSync(path, text);
  const env = { TIMESTORE_URL: call.url(), TIMESTORE_KEY: 'local-admin' };
  return await cli.run(['ingest', path, '--table', `${dataset}.m`, '--json', ...more], env);
}

test.each(tables)('a file that is sent is stored as a request: %s', async (_, rows) => {
  const sent = await sentRows(rows);
  const dataset = rows.fields === undefined ? newDataset() : await declared(rows.fields);
  const { code, stderr } = await ingestFile(dataset, rows);
  expect([code, stderr]).toEqual([0, '']);
  expect(await storedIn(dataset)).toEqual(await storedIn(sent));
});

// Where lines end says nothing once they are read.
describe.each(tables.slice(0, 3))('%s', (_, rows) => {
  test('rows that were set aside are stored as they would have been, once the table has their fields', async () => {
    const sent = await sentRows(rows);
    const dataset = await declared([], narrow);
    const { text, format } = rows;
    const { accepted } = await send({ dataset, text, format, onError: 'quarantine' }, narrow);
    const records = await openRecords(ctx, dataset, { limit: 1_000 });
    expect(records).toHaveLength(accepted.quarantined);
    expect(records.length).toBeGreaterThan(3);
    await send({ dataset, text: `{${time(59)}}`, ...declaredOf(await fieldsOf(sent)) });
    const replayed = await replayRecords(newInstance(prefix), dataset, records);
    expect(replayed).toMatchObject({ replayed: records.length, refused: [] });
    expect(await storedIn(dataset)).toEqual(await storedIn(sent));
  });

  test('rows that come back from a backup are what they were, bit for bit', async () => {
    const dataset = await sentRows(rows);
    const before = await storedIn(dataset);
    const backup = await workOn('backup', { datasets: [dataset] });
    await deleteTable(ctx, dataset, 'm', 0);
    await expect
      .poll(async () => {
        await runDueJobs(ctx, jobHandlers, ctx.now() + 5_000);
        return (await ctx.postgres.rows('select 1 from tables where dataset = $1 and dropped_at is null', [dataset]))
          .length;
      })
      .toBe(0);
    await workOn('restore', { backup: backup.id });
    expect(await storedIn(dataset)).toEqual(before);
  });
});

async function workOn(kind: 'backup' | 'restore', request: Record<string, unknown>) {
  const job = await workUntilOver(ctx, await createJob(ctx, { kind, dataset: null, table: null, request }));
  expect([job.state, job.error]).toEqual(['done', null]);
  return job;
}

test('files that are cut into requests of two rows are stored as one request of all', async () => {
  for (const [, rows] of tables) {
    // A row on several lines is none of NDJSON, where it may be cut.
    const text = rows.format === 'ndjson' ? rows.text.replaceAll(/,\n"whole"\n/g, ',"whole"') : rows.text;
    const sent = await sentRows({ ...rows, text });
    const dataset = await declared(await fieldsOf(sent));
    const { code, stderr } = await ingestFile(dataset, { ...rows, text }, '--batch-rows', '2');
    expect([code, stderr]).toEqual([0, '']);
    expect(await storedIn(dataset)).toEqual(await storedIn(sent));
  }
});

/** Why rows are in quarantine, and the text of each. */
async function asideIn(dataset: string) {
  const records = await openRecords(ctx, dataset, { limit: 1_000 });
  return records
    .map(({ index, field, reason, detail, payload }) => ({ index, field, reason, detail, payload }))
    .sort((a, b) => Number(a.index) - Number(b.index));
}

test.each<[string, RowFormat & ('ndjson' | 'csv'), string, number]>([
  ['NDJSON', 'ndjson', [`{${time(0)},"v":1,"s":"a"}`, ...badLines, '{"v":NaN}', 'no'].join('\n'), badLines.length + 2],
  [
    'CSV',
    'csv',
    ['timestamp,v,s', `${at(0)},1,a`, `${at(1)},x,b`, `${at(2)},1,2,3`, ',1,c', `${at(3)},5" disk,d`, `${at(4)}`].join(
      '\n',
    ),
    5,
  ],
])('%s: rows that a request refuses are refused of a file, for the same reason', async (_, format, text, refused) => {
  const fields: Field[] = [
    { name: 'v', type: 'double' },
    { name: 's', type: 'string' },
  ];
  const [sent, brought] = [await declared(fields), await declared(fields)];
  const { accepted } = await send({ dataset: sent, text, format, onError: 'quarantine' });
  const { code, stdout } = await ingestFile(brought, { text, format }, '--on-error', 'quarantine');
  expect([code, JSON.parse(stdout)]).toMatchObject([0, { accepted: 1, quarantined: refused }]);
  expect(accepted).toMatchObject({ accepted: 1, quarantined: refused });
  expect(await asideIn(brought)).toEqual(await asideIn(sent));
  expect(await storedIn(brought)).toEqual(await storedIn(sent));
  const strict = await ingestFile(await declared(fields), { text, format });
  expect([strict.code, strict.stderr]).toEqual([1, expect.stringMatching(/line [0-9]+\b/)]);
  expect(strict.stderr).toContain('0 rows accepted');
});

test('a row that is corrected in the text of quarantine and sent again is stored with all its other values', async () => {
  const fields: Field[] = [{ name: 'wrong', type: 'boolean' }];
  const lines = all('sent').map((line) => line.replace('T00:00:', 'T10:00:'));
  const [right, wrong] = ['true', '"yes"'].map((value) =>
    lines.map((line) => line.replace('{', `{"wrong":${value},`)).join('\n'),
  );
  const all_fields = [...typeFields, ...fields];
  const sent = await sentRows({ text: right ?? '', format: 'ndjson', fields: all_fields });
  const dataset = await declared(all_fields);
  await send({ dataset, text: wrong ?? '', onError: 'quarantine' });
  const records = await openRecords(ctx, dataset, { limit: 1_000 });
  expect(records.map(({ field, reason }) => `${field} ${reason}`)).toEqual(lines.map(() => 'wrong wrong-type'));
  // As it is answered, which is where somebody who corrects it has it from.
  const aside = await query(newInstance(prefix), dataset, { tableName: '_quarantine', limit: 1_000 });
  const corrected = aside.rows.map(({ payload }) => String(payload).replace('"yes"', 'true'));
  await send({ dataset, text: corrected.join('\n') });
  expect(await discardRecords(ctx, dataset, records)).toBe(lines.length);
  expect(await storedIn(dataset)).toEqual(await storedIn(sent));
});
