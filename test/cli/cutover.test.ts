import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject } from 'vitest';
import { runDueJobs } from '../../src/jobs/runner.ts';
import { jobHandlers } from '../../src/operations/job-handlers.ts';
import { builtWorker } from '../built-worker.ts';
import { test } from '../integration/fixtures.ts';
import { startMiniflare } from '../integration/http/miniflare.ts';
import { knowing, useOrigin } from '../integration/migration/origin.ts';
import { at, expectStored, flush, newInstance, tableOf } from '../integration/support.ts';
import { useCli } from './support.ts';

const origin = useOrigin();
const cli = useCli();
const prefix = { TIMESTORE_KEY_PREFIX: `cutover-${process.pid}` };
let miniflare: ReturnType<typeof startMiniflare>;
let base: URL;
let ctx: ReturnType<typeof newInstance>;
let isOver = false;
let clock: Promise<void>;

beforeAll(async () => {
  const bindings = { ...inject('env'), ...prefix, ...knowing(origin) };
  miniflare = startMiniflare({ build: await builtWorker(), bindings });
  base = await miniflare.ready;
  ctx = newInstance({ ...prefix, ...knowing(origin) });
  origin.answer = (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"rows": [{"from": "origin"}]}');
  };
  // As the clock does every minute.
  clock = (async () => {
    while (!isOver) {
      await runDueJobs(ctx, jobHandlers, ctx.now() + 1_000);
      await delay(200);
    }
  })();
});
afterAll(async () => {
  isOver = true;
  await clock;
  await miniflare?.dispose();
});

const timestore = (args: string[]) =>
  cli.run(args, { TIMESTORE_URL: String(base).replace(/\/$/, ''), TIMESTORE_KEY: 'local-admin' });

async function done(args: string[]): Promise<string> {
  const { code, stdout, stderr } = await timestore(args);
  expect({ args, code, stderr }).toMatchObject({ args, code: 0 });
  return `${stdout}${stderr}`;
}

type Row = { timestamp: string; id: number; v: number | null };
const row = (id: number): Row => ({ timestamp: at(id % 60, 1 + (id % 5)), id, v: id % 7 === 0 ? null : id / 3 });
const lines = (rows: object[]) => rows.map((each) => `${JSON.stringify(each)}\n`).join('');

function file(name: string, content: string): string {
  const path = join(cli.home, name);
  writeFileSync(path, content);
  return path;
}

async function ask(dataset: string): Promise<Response> {
  return await fetch(new URL(`/v1/datasets/${dataset}/query`, base), {
    method: 'POST',
    headers: { authorization: 'Bearer local-admin', 'content-type': 'application/json' },
    body: JSON.stringify({ tableName: 'm', columns: ['id'], limit: 100_000 }),
  });
}

/** Sends a row until it is accepted, as clients do: under one key. */
async function accepted(dataset: string, each: Row): Promise<'at once' | 'later'> {
  for (let tries = 0; ; tries += 1) {
    const answer = await fetch(new URL(`/v1/datasets/${dataset}/tables/m/rows`, base), {
      method: 'POST',
      headers: {
        authorization: 'Bearer local-admin',
        'content-type': 'application/json',
        'idempotency-key': `row-${each.id}`,
      },
      body: JSON.stringify(each),
    });
    const text = await answer.text();
    if (answer.ok) return tries === 0 ? 'at once' : 'later';
    expect([409, text]).toEqual([answer.status, expect.stringContaining('dataset-frozen')]);
    await delay(200);
  }
}

const ids = (rows: { id: unknown }[]) => rows.map(({ id }) => Number(id)).sort((a, b) => a - b);
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);

describe('a cutover', () => {
  test('under live writes loses nothing, doubles nothing, and can be taken back', async ({ dataset }) => {
    const history = upTo(200).map(row);
    // What the original has: its own rows, and those that it was sent from here.
    const originHas = () => [...history, ...(origin.rowsOf(dataset) as Row[])];
    await done(['datasets', 'create', dataset]);
    await done(['datasets', 'change', dataset, '--reads', 'off', '--mirror']);
    await done([
      'imports',
      'create',
      `${dataset}.m`,
      file('early.ndjson', lines(history.slice(0, 150))),
      '--wait',
      '-q',
    ]);

    let next = 1_000;
    let isWriting = true;
    const sent: number[] = [];
    const waited: number[] = [];
    const writers = [1, 2, 3].map(async () => {
      while (isWriting) {
        const each = row(next++);
        if ((await accepted(dataset, each)) === 'later') waited.push(each.id);
        sent.push(each.id);
      }
    });
    await expect.poll(() => sent.length).toBeGreaterThan(20);
    expect((await (await ask(dataset)).json()) as object).toEqual({ rows: [{ from: 'origin' }] });

    // What the original has at the moment is what it gives out: while writes are stopped here.
    const path = join(cli.home, 'original.ndjson');
    let given = '';
    const give = () => {
      const now = lines(originHas().map(({ timestamp, id, v }) => ({ timestamp, id, v })));
      if (now !== given) writeFileSync(path, now);
      given = now;
    };
    // Before anybody can hear that a batch was taken.
    origin.fateOf = () => {
      setImmediate(give);
      return undefined;
    };
    give();
    const told = await done(['cutover', dataset, `m=${path}`]);
    origin.fateOf = () => undefined;
    expect(told).toMatch(/freeze.*mirror.*backfill.*: 50 rows.*compare.*switch.*unfreeze/s);

    await expect.poll(() => waited.length).toBeGreaterThan(0);
    const before = sent.length;
    await expect.poll(() => sent.length).toBeGreaterThan(before + 20);
    expect((await ask(dataset)).headers.get('x-timestore-answered-by')).toBeNull();

    // And back, still under writes.
    expect(await done(['cutover', dataset, '--back'])).toMatch(/freeze.*mirror.*the source system answers.*unfreeze/s);
    expect((await ask(dataset)).headers.get('x-timestore-answered-by')).toBe('origin');
    await done(['datasets', 'change', dataset, '--reads', 'on']);
    isWriting = false;
    await Promise.all(writers);

    const all = [...upTo(200), ...sent].sort((a, b) => a - b);
    const answer = (await (await ask(dataset)).json()) as { rows: { id: number }[] };
    expect(ids(answer.rows)).toEqual(all);
    await flush(ctx, dataset);
    await expectStored(ctx, await tableOf(ctx, dataset), all.length);
    await expect.poll(() => ids(originHas())).toEqual(all);
  });

  test('that finds a difference switches nothing, says what it is, and lets writers go on', async ({ dataset }) => {
    await done(['datasets', 'create', dataset]);
    await done(['datasets', 'change', dataset, '--reads', 'off', '--mirror']);
    const extra = upTo(5).map(row);
    await done(['imports', 'create', `${dataset}.m`, file('extra.ndjson', lines(extra)), '--wait', '-q']);
    const less = file('less.ndjson', lines(extra.slice(1)));
    const { code, stdout, stderr } = await timestore(['cutover', dataset, `m=${less}`]);
    expect([code, stdout]).toEqual([1, expect.stringContaining('4 rows in the files, 5 in the table')]);
    expect(stderr).toMatch(/differs from less\.ndjson.*The source system still answers/s);
    expect((await ask(dataset)).headers.get('x-timestore-answered-by')).toBe('origin');
    expect(await accepted(dataset, row(1_000))).toBe('at once');
  });

  test('needs a table that is there, and a mirror for its way back', async ({ dataset }) => {
    await done(['datasets', 'create', dataset]);
    const some = file('some.ndjson', lines([row(1)]));
    const none = await timestore(['cutover', dataset, `m=${some}`]);
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('timestore imports create')]);
    const back = await timestore(['cutover', dataset, '--back']);
    expect([back.code, back.stderr]).toEqual([1, expect.stringContaining('has no mirror')]);
    expect((await timestore(['cutover', dataset])).code).toBe(2);
    expect(await accepted(dataset, row(2))).toBe('at once');
  });
});

test('compare reports whether files and a table hold the same rows, and the differences', async ({ dataset }) => {
  const rows = upTo(30).map(row);
  const path = file('same.ndjson', lines(rows.toReversed()));
  for (const each of rows) await accepted(dataset, each);
  expect(await done(['compare', `${dataset}.m`, path])).toContain(
    '30 rows in the files, 30 in the table; 0 of 5 days differ.',
  );
  const other = file('other.ndjson', lines([...rows.slice(1), { ...row(0), v: 99.5 }]));
  const { code, stdout } = await timestore(['compare', `${dataset}.m`, other]);
  expect([code, stdout]).toEqual([1, expect.stringMatching(/1 of 5 days differ.*2026-05-01 │ v .*99\.5/s)]);
  const json = await timestore(['compare', `${dataset}.m`, other, '--json']);
  expect(JSON.parse(json.stdout)).toMatchObject({ equal: false, differingRows: [{}, {}] });
  const chosen = ['compare', `${dataset}.m`, other, '--columns', 'timestamp,id'];
  expect(await done(chosen)).toContain('0 of 5 days differ');
  const parquet = join(import.meta.dirname, '..', 'integration', 'jobs', 'files', 'values.parquet');
  const read = await timestore(['compare', `${dataset}.m`, parquet, '--columns', 'timestamp']);
  expect(read.stdout).toContain('4 rows in the files, 30 in the table');
  const mixed = await timestore(['compare', `${dataset}.m`, path, file('mixed.csv', 'timestamp,id,v\n')]);
  expect([mixed.code, mixed.stderr]).toEqual([2, expect.stringContaining('mixed.csv is csv')]);
});
