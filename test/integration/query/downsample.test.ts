import { describe, expect, test } from 'vitest';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { flush, newDataset, newInstance, newTable, query, send } from '../support.ts';

const ctx = newInstance();

const count = [{ function: 'count' }];

/** Rows sent in turn, the first half of them flushed. */
async function sent(rows: object[]): Promise<string> {
  const dataset = newDataset();
  const half = Math.ceil(rows.length / 2);
  await send(ctx, dataset, rows.slice(0, half));
  await flush(ctx, dataset);
  if (half < rows.length) await send(ctx, dataset, rows.slice(half));
  return dataset;
}

const rowsOf = async (dataset: string, body: object) => (await query(ctx, dataset, body)).rows;

test('every aggregation, over rows of both sides', async () => {
  const values = [4, 1, 3, 2, null];
  const dataset = await sent(
    values.map((v, i) => ({ timestamp: `2026-05-01T10:00:0${i}Z`, v, s: v === null ? null : `s${v % 2}` })),
  );
  const all = ['avg', 'min', 'max', 'sum', 'median', 'count', 'count_distinct', 'first', 'last'].map((name) => ({
    function: name,
    column: 'v',
  }));
  const aggregations = [
    ...all,
    { function: 'percentile', column: 'v', percentile: 75 },
    { function: 'percentile', column: 'v', percentile: 99.5, as: 'tail' },
    { function: 'count' },
    { function: 'count_distinct', column: 's', as: 'kinds' },
    { function: 'first', column: 's' },
    { function: 'max', column: 'timestamp' },
  ];
  const answer = await query(ctx, dataset, { downsample: { intervalUnit: 'minute', aggregations } });
  expect(answer.rows).toEqual([
    {
      timestamp: '2026-05-01T10:00:00.000Z',
      avg_v: 2.5,
      min_v: 1,
      max_v: 4,
      sum_v: 10,
      median_v: 2.5,
      count_v: 4,
      count_distinct_v: 4,
      first_v: 4,
      last_v: 2,
      p75_v: 3.25,
      tail: 3.985,
      count: 5,
      kinds: 2,
      first_s: 's0',
      max_timestamp: '2026-05-01T10:00:04.000Z',
    },
  ]);
  expect(answer).toMatchObject({
    columns: [
      'timestamp',
      'avg_v',
      'min_v',
      'max_v',
      'sum_v',
      'median_v',
      'count_v',
      'count_distinct_v',
      'first_v',
      'last_v',
      'p75_v',
      'tail',
      'count',
      'kinds',
      'first_s',
      'max_timestamp',
    ],
    sources: { published: { rows: 3, partitions: 1 }, hotBuffer: { rows: 2 } },
  });
  expect(JSON.parse(answer.text).mode).toBe('downsampled');
});

test('a sum of integers does not run over', async () => {
  const table = await newTable(ctx, 1, [{ name: 'n', type: 'integer' }]);
  const rows = [1, 2].map((ms) => `{"timestamp":${ms},"n":9223372036854775807}`).join('\n');
  await ingestRows(ctx, {
    dataset: table.dataset,
    table: 'm',
    text: rows,
    format: 'ndjson',
    idempotencyKey: undefined,
  });
  const aggregations = [{ function: 'sum', column: 'n' }];
  const { text } = await query(ctx, table.dataset, { downsample: { intervalUnit: 'day', aggregations } });
  expect(text).toContain('"sum_n":18446744073709551614');
});

describe('intervals begin where they do in the time zone', () => {
  test.each<[string, string, number, string, string[], [string, number][]]>([
    [
      'days, over the change of the clocks in spring',
      'day',
      1,
      'Europe/Zurich',
      ['2026-03-28T22:59:59Z', '2026-03-28T23:00:00Z', '2026-03-29T21:59:59Z', '2026-03-29T22:00:00Z'],
      [
        ['2026-03-27T23:00:00.000Z', 1],
        ['2026-03-28T23:00:00.000Z', 2],
        ['2026-03-29T22:00:00.000Z', 1],
      ],
    ],
    [
      'months',
      'month',
      1,
      'America/New_York',
      ['2026-02-01T04:59:59Z', '2026-02-01T05:00:00Z', '2026-04-01T03:59:59Z'],
      [
        ['2026-01-01T05:00:00.000Z', 1],
        ['2026-02-01T05:00:00.000Z', 1],
        ['2026-03-01T05:00:00.000Z', 1],
      ],
    ],
    [
      'weeks, from Monday',
      'week',
      1,
      'UTC',
      ['2026-05-03T23:59:59Z', '2026-05-04T00:00:00Z'],
      [
        ['2026-04-27T00:00:00.000Z', 1],
        ['2026-05-04T00:00:00.000Z', 1],
      ],
    ],
    [
      'six hours, in a zone off by a quarter of an hour',
      'hour',
      6,
      'Asia/Kathmandu',
      ['2026-05-01T00:14:59Z', '2026-05-01T00:15:00Z'],
      [
        ['2026-04-30T18:15:00.000Z', 1],
        ['2026-05-01T00:15:00.000Z', 1],
      ],
    ],
    [
      'seconds',
      'second',
      15,
      'UTC',
      ['2026-05-01T00:00:14.999Z', '2026-05-01T00:00:15Z'],
      [
        ['2026-05-01T00:00:00.000Z', 1],
        ['2026-05-01T00:00:15.000Z', 1],
      ],
    ],
  ])('%s', async (_, intervalUnit, intervalSize, timeZone, times, expected) => {
    const dataset = await sent(times.map((timestamp) => ({ timestamp })));
    const downsample = { intervalUnit, intervalSize, timeZone, aggregations: count };
    expect((await rowsOf(dataset, { downsample })).map((row) => [row.timestamp, row.count])).toEqual(expected);
  });
});

/** What a clock in a time zone shows at an instant, as ms since 1970 there. */
function clockOf(timeZone: string): (at_ms: number) => number {
  const format = new Intl.DateTimeFormat('sv', { timeZone, dateStyle: 'short', timeStyle: 'medium' });
  const known = new Map<number, number>();
  return (at_ms) => {
    const shown = known.get(at_ms) ?? Date.parse(`${format.format(at_ms).replace(' ', 'T')}Z`);
    known.set(at_ms, shown);
    return shown;
  };
}

/**
 * Back from an instant for as long as the clock shows the same interval; an hour that comes again is another one. Several
 * hours begin when the clock first shows their beginning.
 */
function beginOf(at_ms: number, length_ms: number, clock: (at_ms: number) => number): number {
  const interval = (time_ms: number) => Math.floor(clock(time_ms) / length_ms);
  const [step_ms, hour_ms] = [300_000, 3_600_000];
  let begin_ms = at_ms;
  while (interval(begin_ms - step_ms) === interval(at_ms)) {
    if (clock(begin_ms - step_ms) - clock(begin_ms) >= length_ms - step_ms) break;
    begin_ms -= step_ms;
  }
  if (length_ms < 2 * hour_ms || (24 * hour_ms) % length_ms > 0) return begin_ms;
  for (let earlier_ms = begin_ms - length_ms - hour_ms; earlier_ms < begin_ms; earlier_ms += step_ms) {
    if (interval(earlier_ms) === interval(at_ms)) return earlier_ms;
  }
  return begin_ms;
}

describe('minutes and seconds begin by the clock of the time zone, whatever unit a length is said in', () => {
  const days = ['2026-03-28', '2026-04-04', '2026-10-03', '2026-10-24'];
  const instants = days.flatMap((day) => Array.from({ length: 432 }, (_, i) => Date.parse(day) + i * 600_000));
  const dataset = sent(instants.map((timestamp) => ({ timestamp })));
  const lengths = [
    ['minute', 5],
    ['minute', 15],
    ['second', 1_800],
    ['minute', 45],
    ['minute', 60],
    ['hour', 1],
    ['second', 3_600],
    ['minute', 90],
    ['minute', 120],
    ['hour', 2],
    ['minute', 180],
    ['second', 7_200],
    ['minute', 1_440],
    ['day', 1],
    ['hour', 24],
    ['hour', 48],
    ['minute', 2_880],
    ['hour', 36],
  ] as const;
  test.each(['Asia/Kolkata', 'Europe/Zurich', 'Australia/Lord_Howe', 'Pacific/Chatham', 'America/St_Johns'])(
    '%s',
    async (timeZone) => {
      const clock = clockOf(timeZone);
      for (const [intervalUnit, intervalSize] of lengths) {
        const length_ms = Number(intervalSize) * { second: 1e3, minute: 6e4, hour: 36e5, day: 864e5 }[intervalUnit];
        const expected = new Map<string, number>();
        for (const at_ms of instants) {
          const begin = new Date(beginOf(at_ms, length_ms, clock)).toISOString();
          expected.set(begin, (expected.get(begin) ?? 0) + 1);
        }
        const downsample = { intervalUnit, intervalSize, timeZone, aggregations: count };
        const found = await rowsOf(await dataset, { downsample });
        const shown = found.map((row) => [row.timestamp, row.count]);
        expect({ intervalUnit, intervalSize, shown }).toEqual({ intervalUnit, intervalSize, shown: [...expected] });
        if (intervalUnit !== 'minute' || ![45, 60, 1_440].includes(intervalSize)) continue;
        const filled = await rowsOf(await dataset, { limit: 50_000, downsample: { ...downsample, fill: 'zero' } });
        const begins = new Set(filled.map(({ timestamp }) => timestamp));
        expect(begins.size).toBe(filled.length);
        for (const { timestamp } of filled) {
          const at_ms = Date.parse(timestamp);
          expect(new Date(beginOf(at_ms, length_ms, clock)).toISOString()).toBe(timestamp);
        }
        expect([...expected.keys()].filter((begin) => !begins.has(begin))).toEqual([]);
      }
    },
  );
});

describe('intervals without rows', () => {
  const minute = (n: number) => `2026-05-01T10:0${n}:00.000Z`;
  const rows = [
    { timestamp: minute(2), k: 'a', v: 1, s: 'x' },
    { timestamp: minute(5), k: 'a', v: 3, s: 'y' },
    { timestamp: minute(4), k: 'b', v: 7, s: 'z' },
  ];
  const timeRange = { start: minute(1), end: minute(7) };
  const aggregations = [{ function: 'sum', column: 'v' }, { function: 'count' }, { function: 'last', column: 's' }];
  const ask = async (more: object, range: object = { timeRange }) => {
    const dataset = await sent(rows);
    const found = await rowsOf(dataset, { ...range, downsample: { intervalUnit: 'minute', aggregations, ...more } });
    return found.map(({ timestamp, k, sum_v, count: n, last_s }) => [
      timestamp.slice(15, 16),
      ...(k === undefined ? [] : [k]),
      sum_v,
      n,
      last_s,
    ]);
  };

  test('are left out by default', async () => {
    expect(await ask({})).toEqual([
      ['2', 1, 1, 'x'],
      ['4', 7, 1, 'z'],
      ['5', 3, 1, 'y'],
    ]);
  });

  test('are null', async () => {
    expect(await ask({ fill: 'null' })).toEqual([
      ['1', null, null, null],
      ['2', 1, 1, 'x'],
      ['3', null, null, null],
      ['4', 7, 1, 'z'],
      ['5', 3, 1, 'y'],
      ['6', null, null, null],
    ]);
  });

  test('are 0 where there is a number', async () => {
    expect(await ask({ fill: 'zero' })).toEqual([
      ['1', 0, 0, null],
      ['2', 1, 1, 'x'],
      ['3', 0, 0, null],
      ['4', 7, 1, 'z'],
      ['5', 3, 1, 'y'],
      ['6', 0, 0, null],
    ]);
  });

  test('are as the one before, of each group by itself', async () => {
    expect(await ask({ fill: 'previous', groupBy: ['k'] })).toEqual([
      ['1', 'a', null, null, null],
      ['1', 'b', null, null, null],
      ['2', 'a', 1, 1, 'x'],
      ['2', 'b', null, null, null],
      ['3', 'a', 1, 1, 'x'],
      ['3', 'b', null, null, null],
      ['4', 'a', 1, 1, 'x'],
      ['4', 'b', 7, 1, 'z'],
      ['5', 'a', 3, 1, 'y'],
      ['5', 'b', 7, 1, 'z'],
      ['6', 'a', 3, 1, 'y'],
      ['6', 'b', 7, 1, 'z'],
    ]);
  });

  test('come from nowhere', async () => {
    const dataset = await sent(rows);
    const answer = await query(ctx, dataset, {
      timeRange,
      downsample: { intervalUnit: 'minute', aggregations, fill: 'zero' },
    });
    expect(answer.sources).toEqual({ published: { rows: 2, partitions: 1 }, hotBuffer: { rows: 1 } });
  });

  test('without a range, only those between others are filled', async () => {
    expect(await ask({ fill: 'zero' }, {})).toEqual([
      ['2', 1, 1, 'x'],
      ['3', 0, 0, null],
      ['4', 7, 1, 'z'],
      ['5', 3, 1, 'y'],
    ]);
  });

  test('of days, none is missed or doubled where clocks change', async () => {
    const dataset = await sent([{ timestamp: '2026-03-20T12:00:00Z' }, { timestamp: '2026-04-02T12:00:00Z' }]);
    for (const [intervalUnit, intervalSize, length] of [
      ['day', 1, 14],
      ['hour', 6, 53],
      ['hour', 1, 313],
      ['week', 1, 3],
    ] as const) {
      const found = await rowsOf(dataset, {
        downsample: { intervalUnit, intervalSize, timeZone: 'Europe/Zurich', fill: 'zero', aggregations: count },
      });
      expect({ intervalUnit, intervalSize, length: found.length }).toEqual({ intervalUnit, intervalSize, length });
      expect(new Set(found.map(({ timestamp }) => timestamp)).size).toBe(length);
    }
  });
});

test('order and limit are of the answer’s columns', async () => {
  const dataset = await sent([1, 2, 2, 3, 3, 3].map((n) => ({ timestamp: `2026-05-0${n}T00:00:00Z`, n })));
  const downsample = { intervalUnit: 'day', aggregations: count };
  const found = await rowsOf(dataset, { downsample, orderBy: [{ column: 'count', direction: 'desc' }], limit: 2 });
  expect(found.map((row) => row.count)).toEqual([3, 2]);
});

test.each<[object, string]>([
  [{ aggregations: [{ function: 'avg', column: 's' }] }, 'takes numbers'],
  [{ aggregations: [{ function: 'avg' }] }, 'requires a column'],
  [{ aggregations: [{ function: 'max', column: 'none' }] }, 'no field none'],
  [{ aggregations: [{ function: 'percentile', column: 'v' }] }, 'percentile'],
  [{ aggregations: [{ function: 'max', column: 'v', percentile: 5 }] }, 'percentile'],
  [
    {
      aggregations: [
        { function: 'max', column: 'v' },
        { function: 'max', column: 'v' },
      ],
    },
    'max_v',
  ],
  [{ aggregations: [{ function: 'max', column: 'v', as: '_x' }] }, 'reserved'],
  [{ aggregations: count, groupBy: ['none'] }, 'no field none'],
  [{ aggregations: count, groupBy: ['timestamp'] }, 'intervals'],
  [{ aggregations: count, timeZone: 'Mars/Olympus' }, 'unknown time zone'],
])('%j is refused in words', async (downsample, words) => {
  const dataset = await sent([{ timestamp: 0, v: 1, s: 'x' }]);
  await expect(query(ctx, dataset, { downsample: { intervalUnit: 'day', ...downsample } })).rejects.toMatchObject({
    code: 'invalid-request',
    message: expect.stringContaining(words),
  });
});
