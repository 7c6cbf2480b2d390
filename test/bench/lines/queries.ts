import { type Figure, figure, median } from '../figures.ts';
import { bodies } from '../rows.ts';
import type { Scale } from '../scale.ts';
import { clientOf, dataset, flushAll, post, rowsPath, startPeer } from '../tables.ts';
import type { Running, World } from '../world.ts';

const tailRows = 5_000;
const queriesPerRound = 7;

export const queries = {
  'key lookup':
    "SELECT count() AS c, avg(celsius) AS a FROM readings WHERE timestamp BETWEEN '2026-05-01 06:00:00' AND '2026-05-01 06:00:02'",
  'last 100 rows': 'SELECT timestamp, device, celsius FROM readings ORDER BY timestamp DESC LIMIT 100',
  'group by': 'SELECT region, count() AS c, avg(celsius) AS a FROM readings GROUP BY region ORDER BY region',
  'full scan': 'SELECT sum(celsius) AS s, max(humidity) AS m FROM readings',
  join: `SELECT s.site AS site, count() AS c, avg(r.celsius) AS a FROM readings AS r
           INNER JOIN sites AS s ON r.device = s.device WHERE r.timestamp < '2026-05-01 12:00:00' GROUP BY site ORDER BY site`,
} as const;

/** Line 4: SQL over a large table with a tail, beside the same SQL sent straight to ClickHouse. */
export async function measureQueries(world: World, { rounds, storedRows }: Scale): Promise<Figure[]> {
  const { timestore } = world;
  await createTables(world);
  await storeRows(world, 0, storedRows);
  const direct = await startPeer(world, 'direct-sql.js');
  const figures: Figure[] = [];
  for (const isFlushing of [false, true]) {
    const stop = new AbortController();
    const flushing = isFlushing ? keepFlushing(world, stop.signal) : Promise.resolve(0);
    if (!isFlushing) await stageTail(world, tailRows);
    for (const [name, sql] of Object.entries(queries)) {
      const own: number[] = [];
      const theirs: number[] = [];
      for (let round = 0; round <= rounds; round += 1) {
        const ours_ms = await p50(() => ask(timestore, sql));
        const direct_ms = await p50(() => askDirectly(direct, sql));
        if (round === 0) continue;
        own.push(ours_ms);
        theirs.push(direct_ms);
      }
      const [share, more_ms] = isFlushing ? [1.5, 15] : [1.2, 10];
      figures.push(
        figure(
          4,
          `${name}${isFlushing ? ' during a flush' : ''}: p50 against the direct one's × ${share} + ${more_ms} ms`,
          'x',
          own.map((ms, i) => ms / ((theirs[i] ?? 0) * share + more_ms)),
          {
            goal: { most: 1 },
            detail: `${median(own).toFixed(1)} ms against ${median(theirs).toFixed(1)} ms`,
          },
        ),
      );
    }
    stop.abort();
    const flushes = await flushing;
    if (isFlushing && flushes < 3) throw new Error(`only ${flushes} flushes ran beside the queries`);
    await flushAll(world);
  }
  await direct.stop();
  return figures;
}

export async function createTables(world: World): Promise<void> {
  const { timestore } = world;
  const [first] = bodies(1_000, 1);
  await post(timestore.url + rowsPath(), first);
  const sites = Array.from({ length: 1_000 }, (_, i) => ({
    timestamp: '2026-05-01T00:00:00Z',
    device: `device-${i}`,
    site: `site-${i % 20}`,
  }));
  await post(timestore.url + rowsPath('sites'), sites);
  await flushAll(world);
}

/** Rows `from` … `to` as if they had been flushed long ago: made by ClickHouse itself, with a sequence before all others. */
export async function storeRows(world: World, from: number, to: number): Promise<void> {
  const { ctx } = world;
  const step = 1_000_000;
  for (let at = from; at < to; at += step) {
    await ctx.clickhouse.command(
      `INSERT INTO ts_bench.readings (_lane, _seq, _row, _received_at, timestamp, device, region, celsius, humidity, n, ok)
       SELECT 0, 0, number, now64(3), toDateTime64('2026-05-01 00:00:00', 3, 'UTC') + toIntervalMillisecond(number % 100000000),
              concat('device-', toString(number * 7 % 1000)), ['north', 'east', 'south', 'west'][number % 4 + 1],
              15 + number * 31 % 2000 / 100, number * 17 % 1000 / 10, number, number % 10 != 0
         FROM numbers(${at}, ${Math.min(step, to - at)})`,
    );
  }
  // Longer than a statement usually may take: no merge is to run beside what is measured.
  await ctx.clickhouse.send({ settings: {}, body: 'OPTIMIZE TABLE ts_bench.readings FINAL', timeout_ms: 300_000 });
}

export async function stageTail(world: World, rows: number): Promise<void> {
  const perRequest = Math.min(rows, 1_000);
  for (const body of bodies(perRequest, Math.round(rows / perRequest)))
    await clientOf(world.timestore)
      .table(dataset, 'readings')
      .write(JSON.parse(body) as object[]);
}

export async function ask(running: Running, sql: string): Promise<void> {
  const answer = await clientOf(running).open('POST', '/v1/sql', { body: { sql, dataset } });
  // As little as is done with the answer of what it is compared with.
  await answer.arrayBuffer();
}

export async function askDirectly({ url }: Running, sql: string): Promise<void> {
  const here = sql
    .replaceAll(/\breadings\b/g, `ts_bench.readings AS readings`)
    .replaceAll(/\bsites\b/g, `ts_bench.sites AS sites`)
    .replaceAll(/AS \w+ AS /g, 'AS ');
  await (await post(url, { sql: here })).arrayBuffer();
}

export async function p50(query: () => Promise<void>, times = queriesPerRound): Promise<number> {
  const took: number[] = [];
  for (let i = 0; i < times; i += 1) {
    const from = performance.now();
    await query();
    took.push(performance.now() - from);
  }
  return median(took);
}

/** Answers how many flushes there were. */
async function keepFlushing(world: World, signal: AbortSignal): Promise<number> {
  let flushes = 0;
  while (!signal.aborted) {
    await stageTail(world, tailRows);
    await flushAll(world);
    flushes += 1;
  }
  return flushes;
}
