import { changeTable, requireTable } from '../../../src/catalog/change-table.ts';
import { atLane } from '../../../src/catalog/lane-location.ts';
import { type Figure, figure, median } from '../figures.ts';
import { applyLoad } from '../load.ts';
import { bodies } from '../rows.ts';
import type { Scale } from '../scale.ts';
import { dataset, flushAll, headers, post, rowsPath } from '../tables.ts';
import { openWorld, quiet, type World } from '../world.ts';
import { ask, p50, queries } from './queries.ts';

const lanes = 3;
const perRequest = 1_000;
const flushRows = 150_000;

/**
 * Line 12: a table of three lanes on a cluster of three nodes beside the same on one node. All of them share the processors of
 * this machine, so that no figure can show what more machines bring: they show what a cluster costs.
 */
export async function measureCluster(three: World, { rounds, seconds, storedRows }: Scale): Promise<Figure[]> {
  const one = await openWorld(quiet);
  try {
    const worlds = [one, three] as const;
    for (const world of worlds) await prepare(world, storedRows);
    const compared = async (name: string, isSpeed: boolean, measure: (world: World) => Promise<number>) => {
      const figures: [number[], number[]] = [[], []];
      for (let round = 0; round <= rounds; round += 1) {
        for (const [i, world] of worlds.entries()) {
          const value = await measure(world);
          if (round > 0) figures[i]?.push(value);
        }
      }
      const [alone, spread] = figures;
      const unit = isSpeed ? 'rows/s' : 'ms';
      const shown = (values: number[]) =>
        median(values).toLocaleString('en', { maximumFractionDigits: isSpeed ? 0 : 1 });
      return figure(
        12,
        `${name}: three nodes against one`,
        'x',
        spread.map((value, i) => value / (alone[i] ?? 1)),
        { detail: `${shown(spread)} against ${shown(alone)} ${unit}` },
      );
    };
    return [
      await compared('ingest, 100 rows a request', true, (world) => ingest(world, seconds)),
      await compared(`flush of ${flushRows.toLocaleString('en')} rows`, true, flush),
      await compared(`key lookup in ${storedRows.toLocaleString('en')} rows`, false, (world) =>
        scan(world, 'key lookup'),
      ),
      await compared('full scan of as many', false, (world) => scan(world, 'full scan')),
      await compared('group by of as many', false, (world) => scan(world, 'group by')),
    ];
  } finally {
    await one.stop();
  }
}

async function prepare(world: World, rows: number): Promise<void> {
  const { ctx, timestore } = world;
  const [first = ''] = bodies(perRequest, 1);
  await post(timestore.url + rowsPath(), first);
  await changeTable(ctx, dataset, 'readings', { lanes });
  await flushAll(world);
  const table = await requireTable(ctx, dataset, 'readings');
  for (const lane of table.shards.slice(0, lanes).keys()) {
    const at = await atLane(ctx, table, lane);
    const share = Math.floor(rows / lanes);
    await at.clickhouse.send({
      settings: {},
      body: `INSERT INTO ts_bench.readings (_lane, _seq, _row, _received_at, timestamp, device, region, celsius, humidity, n, ok)
        SELECT ${lane}, 0, number, now64(3), toDateTime64('2026-05-01 00:00:00', 3, 'UTC') + toIntervalMillisecond(number % 100000000),
               concat('device-', toString(number * 7 % 1000)), ['north', 'east', 'south', 'west'][number % 4 + 1],
               15 + number * 31 % 2000 / 100, number * 17 % 1000 / 10, number, number % 10 != 0
          FROM numbers(${share})`,
      timeout_ms: 300_000,
    });
    await at.clickhouse.send({ settings: {}, body: 'OPTIMIZE TABLE ts_bench.readings FINAL', timeout_ms: 300_000 });
  }
}

/** Acknowledged rows a second. */
async function ingest(world: World, seconds: number): Promise<number> {
  const sent = bodies(100, 20);
  const { perSecond } = await applyLoad({
    url: world.timestore.url,
    connections: 50,
    seconds,
    request: (n) => ({ path: rowsPath(), headers, body: sent[n % sent.length] ?? '' }),
    isGood: (status) => status === 202,
  });
  await flushAll(world);
  return perSecond * 100;
}

/** Rows a second. */
async function flush(world: World): Promise<number> {
  for (const body of bodies(perRequest, flushRows / perRequest)) await post(world.timestore.url + rowsPath(), body);
  const from = performance.now();
  await flushAll(world);
  return (flushRows * 1_000) / (performance.now() - from);
}

async function scan(world: World, name: keyof typeof queries): Promise<number> {
  return await p50(() => ask(world.timestore, queries[name]));
}
