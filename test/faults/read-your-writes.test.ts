import { expect, test } from 'vitest';
import { flushTable } from '../../src/flush/flush-table.ts';
import { useWorker } from '../integration/http/worker.ts';
import { at, expectStored, newDataset, newInstance, tableOf } from '../integration/support.ts';

/** `npm run test:soak -- reads --probes 10000` asks for longer. */
const probes = Number(process.env.READ_PROBES ?? 200);
const clients = 8;

const overrides = {
  TIMESTORE_KEY_PREFIX: `reads-${process.pid}`,
  // Each of the Workers flushes too, after a few requests.
  TIMESTORE_TRIGGER_ROWS: '40',
};
const workers = [useWorker(overrides), useWorker(overrides)] as const;
const ctx = newInstance(overrides);

type Row = Record<string, number | string>;

/** What was acknowledged as one request: so many rows with this tag, the i-th with i as its value. */
type Sent = { tag: string; rows: number; watermark: string };

const questions: [name: string, sql: string, expected: (sent: Sent) => Row][] = [
  ['count', 'SELECT count() AS n FROM m WHERE tag = {tag:String}', ({ rows }) => ({ n: rows })],
  ['sum', 'SELECT sum(i) AS s FROM m WHERE tag = {tag:String}', ({ rows }) => ({ s: (rows * (rows + 1)) / 2 })],
  [
    'join',
    'SELECT count() AS n FROM m AS a JOIN m AS b ON a.tag = b.tag AND a.i = b.i WHERE a.tag = {tag:String}',
    ({ rows }) => ({ n: rows }),
  ],
  [
    'window',
    `SELECT max(place) AS p, max(total) AS n FROM (SELECT row_number() OVER (PARTITION BY tag ORDER BY i) AS place,
       count() OVER (PARTITION BY tag) AS total FROM m WHERE tag = {tag:String})`,
    ({ rows }) => ({ p: rows, n: rows }),
  ],
];

test(`${probes} times, what one Worker has acknowledged is in the answer of another, once, while everything is flushed`, {
  timeout: 300_000 + probes * 60,
}, async () => {
  const dataset = newDataset();
  const post = async (worker: number, path: string, json: unknown): Promise<Record<string, unknown>> => {
    const answer = await (workers[worker % 2] ?? workers[0])(path, { json });
    const body = (await answer.json()) as Record<string, unknown>;
    expect(answer.ok, JSON.stringify(body)).toBe(true);
    return body;
  };
  let sentRows = 0;
  let flushes = 0;
  const asked: Record<string, number> = {};
  const send = async (n: number): Promise<Sent> => {
    const tag = `t${n}`;
    const rows = 1 + (n % 4);
    const list = Array.from({ length: rows }, (_, i) => ({ timestamp: at(n % 60, 1 + (i % 3)), tag, i: i + 1 }));
    const { watermark } = await post(n, `/v1/datasets/${dataset}/tables/m/rows`, list);
    sentRows += rows;
    return { tag, rows, watermark: String(watermark) };
  };
  const probe = async (n: number): Promise<void> => {
    const before = sentRows;
    const sent = await send(n);
    const kind = n % (questions.length + 1);
    const [name, sql, expected] = questions[kind] ?? ['raw rows', '', () => ({})];
    asked[name] = (asked[name] ?? 0) + 1;
    if (sql === '') {
      const filters = { columns: [{ column: 'tag', op: 'eq', value: sent.tag }] };
      const body = {
        tableName: 'm',
        filters,
        columns: ['i'],
        orderBy: [{ column: 'i' }],
        minWatermark: sent.watermark,
      };
      const { rows } = (await post(n + 1, `/v1/datasets/${dataset}/query`, body)) as { rows: Row[] };
      expect(rows.map(({ i }) => i)).toEqual(Array.from({ length: sent.rows }, (_, i) => i + 1));
    } else {
      const answer = await post(n + 1, '/v1/sql', { sql, dataset, params: { tag: sent.tag } });
      expect({ name, rows: answer.rows }).toEqual({ name, rows: [expected(sent)] });
    }
    if (n % 10 > 0) return;
    // And all that was acknowledged before this began.
    const all = await post(n + 1, '/v1/sql', { sql: 'SELECT count() AS n, uniqExact(tag, i) AS d FROM m', dataset });
    const [{ n: count, d: distinct } = {}] = all.rows as Row[];
    expect(count).toBe(distinct);
    expect(Number(count)).toBeGreaterThanOrEqual(before + sent.rows);
  };

  await send(0);
  const table = await tableOf(ctx, dataset);
  let isOver = false;
  const flusher = (async () => {
    while (!isOver) flushes += (await flushTable(ctx, table, 'admin', ctx.now() + 5_000)).seals;
  })();
  let next = 1;
  try {
    await Promise.all(
      Array.from({ length: clients }, async () => {
        for (let n = next++; n <= probes; n = next++) await probe(n);
      }),
    );
  } finally {
    isOver = true;
    await flusher;
  }
  const last = await flushTable(ctx, table, 'admin', ctx.now() + 60_000);
  expect(last.complete).toBe(true);
  await expectStored(ctx, table, sentRows);
  expect(Object.values(asked).reduce((sum, count) => sum + count, 0)).toBe(probes);
  console.log(
    `${probes} probes (${JSON.stringify(asked)}), ${sentRows} rows, ${flushes} flushes beside those of the Workers`,
  );
  expect(flushes).toBeGreaterThan(probes / 100);
});
