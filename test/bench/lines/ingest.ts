import { type Figure, figure, median } from '../figures.ts';
import { applyLoad, type LoadResult } from '../load.ts';
import { bodies } from '../rows.ts';
import type { Scale } from '../scale.ts';
import {
  asyncVariants,
  createPeerTable,
  flushAll,
  headers,
  insertUrl,
  mergesEnd,
  rowsPath,
  startPeer,
} from '../tables.ts';
import type { Running, World } from '../world.ts';

const connections = 50;

/** Lines 1 and 2: acknowledged ingest beside a Worker that hands each request to ClickHouse's asynchronous inserts. */
export async function measureIngest(world: World, { rounds, seconds }: Scale): Promise<Figure[]> {
  const table = await createPeerTable(world.ctx, 'readings');
  const peers = await Promise.all(
    Object.entries(asyncVariants).map(async ([name, settings]) => {
      const INSERT_URL = insertUrl(world, table, settings);
      return { name, worker: await startPeer(world, 'async-insert.js', { INSERT_URL }) };
    }),
  );
  const bare = await startPeer(world, 'staging.js');
  const figures: Figure[] = [];
  for (const rows of [1, 100, 1_000]) {
    const sent = bodies(rows, rows === 1_000 ? 100 : 500);
    const own: LoadResult[] = [];
    const empty: LoadResult[] = [];
    const least: LoadResult[] = [];
    const theirs = peers.map((): LoadResult[] => []);
    // The first round only warms all of them up.
    for (let round = 0; round <= rounds; round += 1) {
      const time = round === 0 ? Math.min(1, seconds) : seconds;
      const keep = <Result>(list: Result[], result: Result) => round > 0 && list.push(result);
      await mergesEnd(world);
      keep(empty, await load(world.timestore, '/health', undefined, time));
      keep(own, await load(world.timestore, rowsPath(), sent, time));
      await flushAll(world);
      keep(least, await load(bare, '/', sent, time));
      await world.ctx.redis.del('{bench}:log');
      for (const [i, { worker }] of peers.entries()) {
        await mergesEnd(world);
        keep(theirs[i] ?? [], await load(worker, '/', sent, time));
      }
    }
    figures.push(
      ...compare(
        rows,
        own,
        empty,
        least,
        peers.map(({ name }, i) => ({ name, rounds: theirs[i] ?? [] })),
        sent,
      ),
    );
  }
  await Promise.all([bare, ...peers.map(({ worker }) => worker)].map((worker) => worker.stop()));
  return figures;
}

async function load({ url }: Running, path: string, sent: string[] | undefined, seconds: number): Promise<LoadResult> {
  return await applyLoad({
    url,
    connections,
    seconds,
    request: (n) => {
      return sent === undefined
        ? { path, headers, method: 'GET' }
        : { path, headers, body: sent[n % sent.length] ?? '' };
    },
    isGood: (status) => status === (sent === undefined ? 200 : 202),
  });
}

function compare(
  rows: number,
  own: LoadResult[],
  empty: LoadResult[],
  least: LoadResult[],
  peers: { name: string; rounds: LoadResult[] }[],
  sent: string[],
): Figure[] {
  const speed = (results: LoadResult[]) => median(results.map(({ perSecond }) => perSecond));
  const [best] = [...peers].sort((a, b) => speed(b.rounds) - speed(a.rounds));
  if (best === undefined) throw new Error('there is no peer');
  const against = (of: (result: LoadResult) => number) =>
    own.map((result, i) => of(result) / of(best.rounds[i] ?? result));
  const told = (of: (result: LoadResult) => number) =>
    `${of(middle(own, of)).toFixed(1)} against ${of(middle(best.rounds, of)).toFixed(1)} (async inserts, ${best.name})`;
  const name = `${rows} row${rows === 1 ? '' : 's'} a request`;
  const perSecond = ({ perSecond: value }: LoadResult) => value;
  // For comparison: no ratio to reach.
  const limits = [
    figure(
      rows === 1_000 ? 2 : 1,
      `${name}: a bare Worker that stages against async inserts`,
      'x',
      least.map((each, i) => each.perSecond / (best.rounds[i]?.perSecond ?? 0)),
      { detail: `${speed(least).toFixed(1)} requests/s; ${speed(empty).toFixed(1)} of an empty route` },
    ),
  ];
  if (rows === 1_000) {
    const bytes = median(sent.map((body) => body.length));
    return [
      figure(2, `${name}: rows/s against async inserts`, 'x', against(perSecond), {
        goal: { least: 2 },
        detail: told(perSecond),
      }),
      figure(
        2,
        `${name}: rows/s`,
        'rows/s',
        own.map((each) => each.perSecond * rows),
        { goal: { least: 150_000 } },
      ),
      figure(
        2,
        `${name}: bytes/s`,
        'bytes/s',
        own.map((each) => each.perSecond * bytes),
      ),
      ...limits,
    ];
  }
  const p50 = ({ p50_ms }: LoadResult) => p50_ms;
  const p99 = ({ p99_ms }: LoadResult) => p99_ms;
  return [
    figure(1, `${name}: requests/s against async inserts`, 'x', against(perSecond), {
      goal: { least: 3 },
      detail: told(perSecond),
    }),
    figure(1, `${name}: p50 against async inserts`, 'x', against(p50), {
      goal: { most: 0.35 },
      detail: `${told(p50)} ms`,
    }),
    figure(1, `${name}: p99 against async inserts`, 'x', against(p99), {
      goal: { most: 0.6 },
      detail: `${told(p99)} ms`,
    }),
    figure(
      1,
      `${name}: requests/s against an empty route`,
      'x',
      own.map((each, i) => each.perSecond / (empty[i]?.perSecond ?? 0)),
      {
        goal: { least: 0.4 },
        detail: `${speed(own).toFixed(0)} of ${speed(empty).toFixed(0)}`,
      },
    ),
    ...limits,
  ];
}

function middle(results: LoadResult[], of: (result: LoadResult) => number): LoadResult {
  const sorted = [...results].sort((a, b) => of(a) - of(b));
  const found = sorted[Math.floor(sorted.length / 2)];
  if (found === undefined) throw new Error('no round was measured');
  return found;
}
