import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { flushTable } from '../../src/flush/flush-table.ts';
import { ingestRows } from '../../src/ingest/ingest.ts';
import { queryTable } from '../../src/query/execution/query-table.ts';
import { queryBody } from '../../src/query/request/parse.ts';
import { at, everyone, expectStored, newInstance, newTable, query, sql, textOf } from '../integration/support.ts';

/** `npm run test:soak -- reads --seconds 60` makes it longer. */
const seconds = Number(process.env.CUT_SECONDS ?? 8);
const accounts = 20;
const signal = new AbortController().signal;

const fields = [
  { name: 'transfer', type: 'string' },
  { name: 'account', type: 'integer' },
  { name: 'amount', type: 'integer' },
] as const;

/** How much longer it may take until there were enough answers of each kind. */
const slow_ms = 60_000;

/**
 * As in bank tests: each request moves money between accounts, so that the sum of all amounts is 0 in whatever cut. Its
 * two rows lie in two partitions, and requests in four lanes.
 */
test('every answer is of one cut, whichever way it is asked, while several lanes are flushed', {
  timeout: 300_000 + slow_ms + seconds * 2_000,
}, async () => {
  const ctx = newInstance();
  const table = await newTable(ctx, 4, fields);
  const { dataset } = table;
  const until_ms = Date.now() + seconds * 1_000;
  let transfers = 0;
  const counts = { answers: 0, validated: 0, fenced: 0, again: 0, seals: 0, pages: 0 };
  // Answers of both ways, and some that were thrown away, or the run says nothing of them.
  const least = { answers: seconds * 4, validated: seconds / 2, fenced: seconds / 2, again: 1, seals: seconds / 4 };
  const hasEnough = () => Object.entries(least).every(([name, n]) => counts[name as keyof typeof counts] >= n);
  let hasFailed = false;
  /** A slow machine gets more time for it. */
  const isOver = () => hasFailed || (Date.now() >= until_ms && (hasEnough() || Date.now() >= until_ms + slow_ms));

  const writer = async (instance = newInstance()) => {
    while (!isOver()) {
      const transfer = `${transfers++}`;
      const amount = transfers % 97;
      const rows = [
        { timestamp: at(transfers % 60, 1), transfer, account: transfers % accounts, amount: -amount },
        { timestamp: at(transfers % 60, 2), transfer, account: (transfers + 7) % accounts, amount },
      ];
      const text = rows.map((row) => JSON.stringify(row)).join('\n');
      await ingestRows(instance, { dataset, table: 'm', text, format: 'ndjson', idempotencyKey: `k${transfer}` });
    }
  };
  const flusher = async (instance = newInstance()) => {
    while (!isOver()) {
      counts.seals += (await flushTable(instance, table, 'admin', instance.now() + 5_000)).seals;
      // Between two seals there has to be a time without one: a longer one where answers take longer than that.
      const next = transfers + (Date.now() < until_ms ? 10 : 100);
      while (transfers < next && !isOver()) await delay(5);
    }
  };
  const note = ({ exactness }: { exactness: string }) => {
    counts.answers += 1;
    counts[exactness as 'validated' | 'fenced'] += 1;
  };
  // Each has to hold for what it answers by itself, whatever was there at the time.
  const readers: ((instance: ReturnType<typeof newInstance>) => Promise<void>)[] = [
    async (instance) => {
      const { rows, streaming } = await sql(
        instance,
        'SELECT sum(amount) AS s, count() AS n, uniqExact(transfer) AS t FROM m',
        { dataset },
      );
      const [{ s, n, t } = {}] = rows as unknown as Record<string, number>[];
      expect({ s: Number(s), n }).toEqual({ s: 0, n: 2 * Number(t) });
      note(streaming);
    },
    async (instance) => {
      const halves = 'SELECT transfer FROM m GROUP BY transfer HAVING count() != 2 OR sum(amount) != 0';
      const { rows, streaming } = await sql(instance, halves, { dataset });
      expect(rows).toEqual([]);
      note(streaming);
    },
    async (instance) => {
      const join =
        "SELECT countIf(b.transfer = '') AS alone FROM m AS a LEFT JOIN (SELECT * FROM m WHERE amount > 0) AS b ON a.transfer = b.transfer AND b.amount = -a.amount WHERE a.amount < 0";
      const { rows, streaming } = await sql(instance, join, { dataset });
      expect(rows).toEqual([{ alone: 0 }]);
      note(streaming);
    },
    async (instance) => {
      const aggregations = [
        { function: 'sum', column: 'amount' },
        { function: 'count' },
        { function: 'count_distinct', column: 'transfer' },
      ];
      const answer = await query(instance, dataset, { downsample: { intervalUnit: 'month', aggregations } });
      const [{ sum_amount: s, count: n, count_distinct_transfer: t } = {}] = answer.rows as unknown as Record<
        string,
        number
      >[];
      expect({ s: s ?? 0, n: n ?? 0 }).toEqual({ s: 0, n: 2 * Number(t ?? 0) });
      note(answer.streaming);
    },
    async (instance) => {
      // Pages of one cut, flushed under way.
      let cursor: string | undefined;
      let sum = 0;
      const seen = new Map<string, number>();
      do {
        const answer = await query(instance, dataset, {
          limit: 200,
          orderBy: [{ column: 'account', direction: 'desc' }],
          cursor,
        });
        for (const { transfer, amount } of answer.rows as unknown as { transfer: string; amount: number }[]) {
          sum += amount;
          seen.set(transfer, (seen.get(transfer) ?? 0) + 1);
        }
        cursor = answer.cursor ?? undefined;
        counts.pages += 1;
      } while (cursor !== undefined);
      expect(sum).toBe(0);
      expect([...seen.values()].every((times) => times === 2)).toBe(true);
      counts.answers += 1;
    },
    async (instance) => {
      // Streamed, and so fenced from the start.
      const asked = queryBody.parse({ tableName: 'm', limit: null, format: 'ndjson', columns: ['amount'] });
      const answer = await queryTable(instance, everyone, dataset, asked, { format: 'ndjson', signal });
      const lines = (await textOf(answer)).split('\n').filter((line) => line !== '');
      expect(lines.reduce((sum, line) => sum + JSON.parse(line).amount, 0)).toBe(0);
      note(answer.notes.streaming);
    },
  ];
  // Every other one as if each of its reads were too large to be fenced.
  const reading = [...readers, ...readers].map(async (read, i) => {
    const instance = newInstance(i % 2 === 0 ? {} : { TIMESTORE_FENCE_ROWS_MAX: '1' });
    while (!isOver()) {
      await read(instance);
      counts.again += instance.events.splice(0).filter(({ event }) => event === 'query-fenced').length;
    }
  });
  const failed = (error: unknown) => {
    hasFailed = true;
    throw error;
  };
  await Promise.all([writer(), writer(), flusher(), flusher(), ...reading].map((each) => each.catch(failed)));

  const done = await flushTable(ctx, table, 'admin', ctx.now() + 60_000);
  expect(done.complete).toBe(true);
  await expectStored(ctx, table, 2 * transfers);
  console.log(`${transfers} transfers in ${seconds} s, ${JSON.stringify(counts)}`);
  for (const [name, n] of Object.entries(least)) {
    expect(counts[name as keyof typeof counts], name).toBeGreaterThanOrEqual(n);
  }
});
