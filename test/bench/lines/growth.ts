import { changeTable } from '../../../src/catalog/change-table.ts';
import type { Curve } from '../curves.ts';
import { worstStep } from '../curves.ts';
import { type Figure, figure, shown } from '../figures.ts';
import { applyLoad } from '../load.ts';
import { bodies, rowOf } from '../rows.ts';
import type { Scale } from '../scale.ts';
import { clientOf, flushAll, headers, rowsPath } from '../tables.ts';
import type { World } from '../world.ts';
import { ask, createTables, p50, queries, stageTail, storeRows } from './queries.ts';

type Points = [x: number, y: number][];

/** Line 8: what grows with the tail, the lanes, the datasets and the table, and how. */
export async function measureGrowth(
  world: World,
  { growth, seconds }: Scale,
): Promise<{ figures: Figure[]; curves: Curve[] }> {
  await createTables(world);
  const stored: { name: string; points: Points }[] = ['key lookup', 'full scan'].map((name) => ({ name, points: [] }));
  let rows = 0;
  for (const next of growth.stored) {
    await storeRows(world, rows, next);
    rows = next;
    await stageTail(world, 5_000);
    for (const { name, points } of stored) points.push([rows, await asked(world, name)]);
    await flushAll(world);
  }
  const tails: Points = [];
  let pending = 0;
  for (const next of growth.tails) {
    await stageTail(world, next - pending);
    pending = next;
    tails.push([next, await asked(world, 'key lookup')]);
  }
  await flushAll(world);
  const lanes: Points = [];
  for (const count of growth.lanes) {
    await changeTable(world.ctx, 'bench', 'readings', { lanes: count });
    lanes.push([count, (await ingest(world, seconds)) * 100]);
    await flushAll(world);
  }
  const datasets: Points = [];
  for (const count of growth.datasets) datasets.push([count, await flushDatasets(world, count)]);

  const step = (name: string, points: Points) =>
    figure(8, `${name}: worst step against linear growth`, 'x', [worstStep(points)], {
      goal: { most: 1 },
      detail: points.map(([x, y]) => `${shown(x)}: ${shown(y)} ms`).join(', '),
    });
  return {
    figures: [
      step('query by rows in the tail', tails),
      ...stored.map(({ name, points }) => step(`${name} by rows in the table, 5,000 in the tail`, points)),
      step('flush of all by datasets due', datasets),
      figure(
        8,
        `rows/s with ${growth.lanes.at(-1)} lanes against one`,
        'x',
        [(lanes.at(-1)?.[1] ?? 0) / (lanes[0]?.[1] ?? 1)],
        {
          detail: lanes.map(([x, y]) => `${x}: ${shown(y)} rows/s`).join(', '),
        },
      ),
    ],
    curves: [
      {
        name: 'tail',
        title: 'A query by the rows in its tail',
        x: 'rows in the tail',
        y: 'ms',
        lines: [{ name: 'key lookup, p50', points: tails }],
      },
      { name: 'table', title: 'A query by the rows in its table', x: 'rows in the table', y: 'ms', lines: stored },
      {
        name: 'datasets',
        title: 'A flush of everything by the datasets that are due',
        x: 'datasets',
        y: 'ms',
        lines: [{ name: 'until all are published', points: datasets }],
      },
      {
        name: 'lanes',
        title: 'Acknowledged rows by the lanes of a table',
        x: 'lanes',
        y: 'rows/s',
        lines: [{ name: '100 rows a request', points: lanes }],
      },
    ],
  };
}

async function asked({ timestore }: World, name: string): Promise<number> {
  const sql = queries[name as keyof typeof queries];
  await ask(timestore, sql);
  return await p50(() => ask(timestore, sql));
}

async function ingest({ timestore }: World, seconds: number): Promise<number> {
  const sent = bodies(100, 200);
  const { perSecond } = await applyLoad({
    url: timestore.url,
    connections: 50,
    seconds,
    request: (n) => ({ path: rowsPath(), headers, body: sent[n % sent.length] ?? '' }),
    isGood: (status) => status === 202,
  });
  return perSecond;
}

/** The time until a row of each of so many datasets is published (ms). None is left behind. */
async function flushDatasets(world: World, count: number): Promise<number> {
  const { timestore, ctx } = world;
  const client = clientOf(timestore);
  const names = Array.from({ length: count }, (_, n) => `due-${n}`);
  const send = async (at: number, by: number) => {
    for (let n = at; n < count; n += by) await client.table(String(names[n]), 'readings').write([rowOf(n)]);
  };
  await Promise.all([0, 1, 2, 3].map((at) => send(at, 4)));
  const from = performance.now();
  await flushAll(world);
  const took_ms = performance.now() - from;
  const left = await ctx.redis.zcard(ctx.keys.due);
  if (left !== 0) throw new Error(`${left} of ${count} lanes were left behind`);
  return took_ms;
}
