import { describe, expect, test } from 'vitest';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import type { Job } from '../../../src/jobs/job.ts';
import { type ImportRequest, scheduleImport } from '../../../src/operations/import/request.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { at, flush, newDataset, newInstance, query, sql, tableOf } from '../support.ts';
import { badLines, csvTexts, keptLines, time } from './door-rows.ts';
import { workUntilOver } from './support.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `doors-${process.pid}` };
const ctx = newInstance(prefix);

type Format = 'ndjson' | 'csv';

let objects = 0;
async function put(format: Format, content: string | Uint8Array<ArrayBuffer>): Promise<string> {
  objects += 1;
  const key = `imports/doors-${process.pid}-${objects}.${format}`;
  const answer = await fetch(await ctx.objects.presignPut(key, 60), { method: 'PUT', body: content });
  expect(answer.status).toBe(200);
  return key;
}

async function importOf(
  dataset: string,
  format: Format,
  content: string,
  more: Partial<ImportRequest> = {},
): Promise<Job> {
  const request: ImportRequest = { format, objects: [await put(format, content)], ...more };
  return await workUntilOver(ctx, await scheduleImport(ctx, dataset, 'm', request, undefined));
}

/** Every row as it is answered after a flush, and the types of its fields. */
async function storedIn(dataset: string) {
  await flush(newInstance(prefix), dataset);
  const own = newInstance(prefix);
  const { schema } = await tableOf(own, dataset);
  const { text } = await query(own, dataset, { orderBy: [{ column: 'timestamp' }], limit: 1_000 });
  const fields = schema.fields.map(({ name, type }) => [name, type]).sort();
  // The text, in which no digit has been read as a number.
  return { fields, rows: text.slice(text.indexOf('"rows":['), text.lastIndexOf('}],')) };
}

test('a value of NDJSON is stored by an import as it is by a request', async () => {
  const [sent, brought] = [newDataset(), newDataset()];
  const text = keptLines.join('\n');
  await ingestRows(ctx, { dataset: sent, table: 'm', text, format: 'ndjson', idempotencyKey: undefined });
  const job = await importOf(brought, 'ndjson', text);
  expect([job.state, job.error]).toEqual(['done', null]);
  expect(await storedIn(brought)).toEqual(await storedIn(sent));
});

test('a cell of CSV is stored by an import as it is by a request', async () => {
  for (const text of csvTexts) {
    const [sent, brought] = [newDataset(), newDataset()];
    await ingestRows(ctx, {
      dataset: sent,
      table: 'm',
      text: `\ufeff${text}`,
      format: 'csv',
      idempotencyKey: undefined,
    });
    const job = await importOf(brought, 'csv', `\ufeff${text}`);
    expect([job.state, job.error]).toEqual(['done', null]);
    const found = await storedIn(brought);
    expect(found).toEqual(await storedIn(sent));
    expect(found.fields).toContainEqual(['zip', 'string']);
  }
});

test('a row of NDJSON is refused by an import for what a request refuses, and says field, row and line', async () => {
  const text = `{${time(0)},"v":1,"s":"a"}\n\n${badLines.join('\n')}`;
  const refused = await ingestRows(ctx, {
    dataset: newDataset(),
    table: 'm',
    text,
    format: 'ndjson',
    idempotencyKey: undefined,
  }).catch((error) => error);
  const { errors } = refused.extra as { errors: { index: number; field: string | null; reason: string }[] };
  const job = await importOf(newDataset(), 'ndjson', text);
  const found = job.progress.rows as { row: number; line: number; field: string; reason: string }[];
  expect(job.state).toBe('failed');
  expect(found.map(({ row, field, reason }) => [row, field, reason])).toEqual(
    errors.map(({ index, field, reason }) => [index, field ?? '', reason]),
  );
  expect(found.map(({ line }) => line)).toEqual(badLines.map((_, i) => i + 3));
});

describe('text that is not of its form is refused with the line', () => {
  const lines = Array.from({ length: 60_000 }, (_, i) => `${at(i % 60)},${i},${'s'.repeat(60)}`);
  test.each<[string, Format, string, RegExp]>([
    [
      'a quote in the last cell that nothing closes',
      'csv',
      `timestamp,n,s\n${at(0)},0,s\n${at(1)},1,"broken\n${lines.join('\n')}\n`,
      /\(line 3\): a quote is opened there and not closed|a row of more than 8 MiB from line 3 on/,
    ],
    [
      'a file cut off in a quoted cell',
      'csv',
      `timestamp,n,s\n${lines.join('\n')}\n${at(1)},1,"cut o`,
      /\(line 60002\): a quote is opened there/,
    ],
    ['a column without a name', 'csv', `,timestamp,x\n0,${at(0)},1\n`, /has a column without a name, number 1 /],
    ['semicolons', 'csv', `timestamp;x\n${at(0)};1\n`, /\(line 1\): its cells are separated by semicolons/],
    [
      'a row with a cell too many',
      'csv',
      `timestamp,x\n\n${at(0)},1\n${at(0)},1,2\n`,
      /at row 2 \(line 4\): the row has 3 cells/,
    ],
    ['a quote within a cell', 'csv', `timestamp,x\n${at(0)},5" disk\n`, /\(line 2\): a quote stands in a cell/],
    ['NaN', 'ndjson', `{${time(0)}}\n\n{${time(0)},"x":NaN}\n`, /at row 2 \(line 3\): expected a value/],
    ['a tab in a string', 'ndjson', `{${time(0)},"x":"a\tb"}\n`, /at row 1 \(line 1\): a control character/],
    ['a leading zero', 'ndjson', `{${time(0)},"x":01}\n`, /at row 1 \(line 1\): /],
    ['commas between rows', 'ndjson', `{${time(0)}},\n{${time(0)}}\n`, /at row 2 \(line 1\)/],
    [
      'a row cut off',
      'ndjson',
      `{${time(0)}}\n{${time(0)},"x":"a`,
      /at row 2 \(line 2\): a string is not closed in its line/,
    ],
    [
      'nesting without end',
      'ndjson',
      `{${time(0)}}\n{${time(0)},"x":${'['.repeat(5_000)}`,
      /at row 2 \(line 2\): nested deeper/,
    ],
    ['blank lines alone', 'ndjson', '\n \r\n', /has no rows/],
    ['nothing', 'ndjson', '', /has no rows/],
  ])('%s', async (_, format, text, error) => {
    const job = await importOf(newDataset(), format, text);
    expect([job.state, job.attempts]).toEqual(['failed', 1]);
    expect(job.error).toMatch(error);
  });

  test('bytes that are no UTF-8', async () => {
    const key = await put('ndjson', new Uint8Array(Buffer.from(`{${time(0)},"s":"\xff\xfe"}\n`, 'latin1')));
    const begun = await scheduleImport(ctx, newDataset(), 'm', { format: 'ndjson', objects: [key] }, undefined);
    const job = await workUntilOver(ctx, begun);
    expect([job.state, job.error]).toEqual(['failed', `Object ${key} has bytes after line 1 that are not UTF-8.`]);
  });
});

describe('an object of several parts', () => {
  const filler = 'x'.repeat(200);
  const many = (count: number, value: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => `{${time(i % 60)},"i":${value(i)},"s":"${filler}"}`).join('\n');

  test('is read again where a later row has the type of a field, and each row is stored once', async () => {
    const dataset = newDataset();
    const job = await importOf(
      dataset,
      'ndjson',
      many(40_000, (i) => (i === 39_999 ? '9007199254740993' : `${i}`)),
    );
    expect([job.state, job.error, job.result]).toMatchObject([
      'done',
      null,
      { objects: 1, read: 40_000, rows: 40_000 },
    ]);
    const { schema } = await tableOf(newInstance(prefix), dataset);
    expect(schema.fields).toContainEqual({ name: 'i', type: 'integer' });
  });

  test('keeps what earlier parts have shown: fractions, and lists that were empty', async () => {
    const dataset = newDataset();
    const value = (i: number) => (i === 0 ? '0.5' : i === 39_999 ? '9007199254740992' : `${i}`);
    const tags = (i: number) => (i === 39_999 ? '["a"]' : '[]');
    const text = many(40_000, (i) => `${value(i)},"tags":${tags(i)},"late":${i > 20_000 ? `${i}.5` : i}`);
    const job = await importOf(dataset, 'ndjson', text);
    expect([job.state, job.error, job.result]).toMatchObject(['done', null, { rows: 40_000 }]);
    const { schema } = await tableOf(newInstance(prefix), dataset);
    const types = Object.fromEntries(schema.fields.map(({ name, type }) => [name, type]));
    expect(types).toMatchObject({ i: 'double', tags: 'string[]', late: 'double' });
  });

  test('goes on where it was when its time is over, with CSV rows that lie across two parts', async () => {
    const dataset = newDataset();
    const cells = Array.from({ length: 30_000 }, (_, i) => `${at(i % 60)},${i},"${filler}\r\n${'y'.repeat(i % 97)}"`);
    const key = await put('csv', `timestamp,i,s\r\n${cells.join('\r\n')}\r\n`);
    const begun = await scheduleImport(ctx, dataset, 'm', { format: 'csv', objects: [key] }, undefined);
    let job = begun;
    let parts = 0;
    // Time is over before a step begins: it reads one part.
    let outcome = await jobHandlers.import(ctx, job, 0);
    for (; 'progress' in outcome && !('failed' in outcome); outcome = await jobHandlers.import(ctx, job, 0)) {
      parts += 'text' in outcome.progress && outcome.progress.text !== undefined ? 1 : 0;
      job = { ...job, progress: JSON.parse(JSON.stringify(outcome.progress)) };
    }
    expect(outcome).toMatchObject({ done: { read: 30_000, rows: 30_000 } });
    expect(parts).toBeGreaterThan(2);
    await ctx.postgres.rows(`update jobs set state = 'done', finished_at = now() where id = $1`, [job.id]);
    const all = await sql(newInstance(prefix), 'SELECT count() AS n, uniqExact(i) AS u, sum(length(s)) AS c FROM m', {
      dataset,
    });
    const chars = cells.reduce((sum, _, i) => sum + 202 + (i % 97), 0);
    expect(all.rows).toEqual([{ n: 30_000, u: 30_000, c: chars }]);
  });
});
