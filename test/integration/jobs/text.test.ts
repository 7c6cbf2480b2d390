import fc from 'fast-check';
import { describe, expect } from 'vitest';
import { readLog } from '../../../src/catalog/audit-log/read.ts';
import type { JobHandler } from '../../../src/jobs/definition.ts';
import { createJob, type Job, listJobs, readJob, retryJob } from '../../../src/jobs/job.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import type { OperationDeps } from '../../../src/operations/deps.ts';
import { scheduleImport } from '../../../src/operations/import/request.ts';
import { scheduleImportVerification } from '../../../src/operations/import/verify.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { scheduleRowChange } from '../../../src/operations/row-changes/change-rows.ts';
import type { RowsChange } from '../../../src/operations/row-changes/changed-rows.ts';
import { listDifferences, recordDifference } from '../../../src/operations/takeover/differences.ts';
import { fromJsonb, toJsonb, toText } from '../../../src/stores/postgres/jsonb.ts';
import { test } from '../fixtures.ts';
import { at, flush, newDataset, newInstance, query, send } from '../support.ts';
import { workUntilOver } from './support.ts';

const ctx = newInstance({ TIMESTORE_KEY_PREFIX: `job-text-${process.pid}` });

let objects = 0;
async function put(content: string, extension = 'ndjson'): Promise<string> {
  objects += 1;
  const key = `imports/job-text-${process.pid}-${objects}.${extension}`;
  await ctx.objects.put(key, content);
  return key;
}

const time = `"timestamp":"${at(1)}"`;

test('any JSON comes out of jsonb as it went in, and nothing else is written otherwise', async () => {
  const character = fc.oneof(
    fc.constantFrom('\0', '\u0010', '\\', '\ud83d', '\ude00', '😀', 'u0000', '0000', '"', '\u001f', '\uffff'),
    fc.string(),
  );
  const text = fc.array(character, { maxLength: 8 }).map((parts) => parts.join(''));
  // Without backslashes: where an object had a name with one, V8 13 takes it for one with an escape in the same place.
  const name = text.filter((each) => !each.includes('\\'));
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      text,
      fc.integer(),
      fc.constant(null),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(name, tie('any'), { maxKeys: 3 }),
    ),
  })).any;
  await fc.assert(
    fc.asyncProperty(fc.array(value, { minLength: 40, maxLength: 40 }), async (values) => {
      const [found] = await ctx.postgres.rows<{ v: unknown[] }>('select $1::jsonb as v', [toJsonb(values)]);
      expect(fromJsonb(found?.v)).toEqual(JSON.parse(JSON.stringify(values)));
    }),
    { numRuns: 25 },
  );
  for (const plain of ['{"a\\\\u0000":"\\n\\u001f😀"}', '"\\\\\\\\u0010abcd"'])
    expect(toJsonb(JSON.parse(plain))).toBe(plain);
  const [found] = await ctx.postgres.rows<{ v: string }>('select $1::text as v', [toText('a\0b\ud83d😀')]);
  expect(found?.v).toBe('a\\u0000b\\ud83d😀');
});

describe('rows with a NUL in a value', () => {
  test('are deleted and corrected by it, as they are found', async ({ dataset }) => {
    await send(
      ctx,
      dataset,
      ['a\0b', 'a', 'a\0', 'b\0c'].map((s, i) => ({ timestamp: at(i), s })),
    );
    await flush(ctx, dataset);
    const change = async (request: RowsChange) => {
      const job = await workUntilOver(ctx, await scheduleRowChange(ctx, { dataset, table: 'm', request }));
      expect([job.state, job.error, job.request]).toEqual(['done', null, JSON.parse(JSON.stringify(request))]);
      return job;
    };
    const of = (value: string): RowsChange['rows'] => ({ filters: { columns: [{ column: 's', op: 'eq', value }] } });
    const { id, result } = await change({ rows: of('a\0b') });
    expect(result).toMatchObject({ rows: 1 });
    await change({ rows: of('b\0c'), set: { s: 'new\0' } });
    const { rows } = await query(ctx, dataset, { orderBy: [{ column: 'timestamp' }] });
    expect(rows.map(({ s }) => s)).toEqual(['a', 'a\0', 'new\0']);
    const lines = await readLog(ctx, { dataset, action: 'job.delete-rows' }, 10);
    expect(lines.map(({ detail }) => detail)).toEqual([{ job: id, rows: of('a\0b') }]);
    expect(await listJobs(ctx, { dataset, kind: 'delete-rows' }, 10)).toMatchObject([
      { request: { rows: of('a\0b') } },
    ]);
  });

  test('are reported with their value by an import that cannot store them', async ({ dataset }) => {
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    const key = await put(`{${time},"v":1}\n{${time},"v":"a\\u0000b"}\n`);
    const request = { format: 'ndjson' as const, objects: [key] };
    const job = await workUntilOver(ctx, await scheduleImport(ctx, dataset, 'm', request, undefined));
    expect([job.state, job.attempts]).toEqual(['failed', 1]);
    expect(job.progress).toMatchObject({ wrong: 1, rows: [{ object: key, row: 1, field: 'v', value: 'a\0b' }] });
    expect((await retryJob(ctx, job.id)).progress).toEqual(job.progress);
    expect((await workUntilOver(ctx, job)).progress).toEqual(job.progress);
  });

  test('are reported with their values by a comparison', async ({ dataset }) => {
    await send(ctx, dataset, [{ timestamp: at(1), s: 'here\0' }]);
    const request = {
      format: 'ndjson' as const,
      objects: [await put(`{${time},"s":"there\\u0000","other\\u0000":1}\n`)],
    };
    const job = await workUntilOver(ctx, await scheduleImportVerification(ctx, dataset, 'm', request, undefined));
    expect([job.state, job.error]).toEqual(['done', null]);
    const { differingRows, columns } = job.result as { differingRows: { row: { s: string } }[]; columns: object };
    expect(differingRows.map(({ row }) => row.s).sort()).toEqual(['here\0', 'there\0']);
    expect(columns).toMatchObject({ onlyInSource: ['other\0'] });
  });

  test('are reported in comparisons of answers', async ({ dataset }) => {
    const counts = { origin: 1, here: 1, originOnly: 1, hereOnly: 1 };
    const found = { table: 'm', query: '\0{', reason: 'rows' as const, fields: ['s\0'], counts };
    const rows = { originOnly: [{ s: 'a\0' }], hereOnly: [{ 's\ud83d': 'b\ud83d' }] };
    await recordDifference(ctx, dataset, { ...found, ...rows });
    expect(await listDifferences(ctx, dataset, undefined, 10)).toMatchObject([
      { ...found, ...rows, query: '\\u0000{' },
    ]);
  });
});

describe('an import of what ClickHouse cannot read ends, and says which row it is', () => {
  const deep = (open: string, close: string, levels: number) => open.repeat(levels) + close.repeat(levels);
  test.each([
    ['an array that nests too deep', `"d":${deep('[', ']', 1_100)}`],
    ['an object that nests too deep', `"d":${deep('{"a":', '}', 60_000).replace(':}', ':1}')}`],
    ['brackets in strings beside it', `"t":"[[[[\\"[[","d":${deep('[', ']', 5_000)}`],
  ])('%s', async (_, member) => {
    const dataset = newDataset();
    const good = `{${time},"s":"${'['.repeat(9_000)}"}\n`;
    const key = await put(`${good}${good}{${time},${member}}\n${good}`);
    const request = { format: 'ndjson' as const, objects: [key] };
    const job = await workUntilOver(ctx, await scheduleImport(ctx, dataset, 'm', request, undefined));
    expect([job.state, job.attempts]).toEqual(['failed', 1]);
    expect(job.error).toMatch(new RegExp(`^Object ${key} cannot be read as ndjson at row 3\\b`));
    await send(ctx, dataset, [{ timestamp: at(1), s: 'a' }]);
    const compared = await workUntilOver(ctx, await scheduleImportVerification(ctx, dataset, 'm', request, undefined));
    // It reads with other eyes, which can; the row is one that the table lacks.
    expect([compared.state, compared.result]).toEqual(['done', expect.objectContaining({ equal: false })]);
  });

  test.each([
    ['half of a surrogate pair in a value', `"s":"a\\ud83d"`, 's', /half of a surrogate pair is not a character/],
    ['half of a surrogate pair in a name', `"\\ud83d":1`, '\\ud83d', /half of a surrogate pair is not a character/],
    ['a name with a NUL', `"a\\u0000":1`, 'a\\u0000', /control characters are not allowed/],
  ])('%s', async (_, member, name, why) => {
    const key = await put(`{${time}}\n{${time},${member}}\n`);
    const request = { format: 'ndjson' as const, objects: [key] };
    const job = await workUntilOver(ctx, await scheduleImport(ctx, newDataset(), 'm', request, undefined));
    expect([job.state, job.attempts]).toEqual(['failed', 1]);
    expect(job.error).toContain(`1 row cannot be stored, the first one ${name} in row 1 of object ${key} (line 2): `);
    expect(job.error).toMatch(why);
  });
});

test('a comparison that died between its last read and its record starts again', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const request = { format: 'ndjson' as const, objects: [await put(`{${time},"v":2}\n`)] };
  let job = await scheduleImportVerification(ctx, dataset, 'm', request, undefined);
  let outcome = await jobHandlers.compare(ctx, job, ctx.now() + 60_000);
  for (
    ;
    'progress' in outcome && !('failed' in outcome);
    outcome = await jobHandlers.compare(ctx, job, ctx.now() + 60_000)
  ) {
    job = { ...job, progress: outcome.progress };
  }
  expect(outcome).toMatchObject({ done: { equal: false } });
  // What it had read is gone, and its progress says that it is there.
  const again = await jobHandlers.compare(ctx, job, ctx.now() + 60_000);
  expect(again).toMatchObject({ progress: { until: job.progress.until } });
  expect(again).not.toMatchObject({ progress: { staging: expect.anything() } });
  expect((await workUntilOver(ctx, job)).result).toEqual((outcome as { done: object }).done);
});

describe('a job that can never succeed ends with the reason', () => {
  const own = newInstance({ TIMESTORE_KEY_PREFIX: `never-${process.pid}` });

  test('where ClickHouse cannot read what is asked for', async ({ dataset }) => {
    await send(ctx, dataset, [{ timestamp: at(1), s: 'a' }]);
    const rows: RowsChange['rows'] = { filters: { columns: [{ column: 's', op: 'matches', value: '(' }] } };
    const job = await workUntilOver(ctx, await scheduleRowChange(ctx, { dataset, table: 'm', request: { rows } }));
    expect([job.state, job.attempts]).toEqual(['failed', 1]);
    expect(job.error).toMatch(/^A regular expression cannot be read/);
  });

  test.each([
    ['a value', `select '{'::jsonb`, /SQLSTATE 22P02/],
    ['a number', 'select 99999999999::int', /SQLSTATE 22003/],
    ['nothing where something must be', `insert into datasets (name) values (null)`, /SQLSTATE 23502/],
    [
      'a text that is too long',
      `insert into datasets (name) select string_agg(md5(n::text), '') from generate_series(1, 2000) n`,
      /SQLSTATE 54000/,
    ],
  ])('where Postgres refuses %s, and the jobs behind it go on', async (_, refused, reason) => {
    const job = await createJob(own, { kind: 'backup', dataset: null, table: null, request: {} });
    const next = await createJob(own, { kind: 'backup', dataset: null, table: null, request: {} });
    const step: JobHandler<OperationDeps> = (_ctx, { id }) =>
      Promise.resolve(id === job.id ? { done: {}, alongside: [[refused]] } : { done: { well: true } });
    await runDueJobs(own, { ...jobHandlers, backup: step }, own.now() + 5_000);
    expect(await readJob(own, job.id)).toMatchObject({
      state: 'failed',
      attempts: 1,
      error: expect.stringMatching(reason),
    });
    expect(await readJob(own, next.id)).toMatchObject({ state: 'done', result: { well: true } });
  });

  test.each([
    ['a line that is there by somebody else', `insert into jobs select * from jobs limit 1`],
    ['a statement that is none yet, as before a migration', 'select * from of_a_later_migration'],
  ])('but not where Postgres refuses %s', async (_, refused) => {
    const job = await createJob(own, { kind: 'backup', dataset: null, table: null, request: {} });
    const step: JobHandler<OperationDeps> = () => Promise.resolve({ done: {}, alongside: [[refused]] });
    await runDueJobs(own, { ...jobHandlers, backup: step }, own.now() + 500);
    const { state, attempts }: Job = await readJob(own, job.id);
    expect([state, attempts]).toEqual(['running', 1]);
    await runDueJobs(own, { ...jobHandlers, backup: () => Promise.resolve({ done: {} }) }, own.now() + 5_000);
  });
});
