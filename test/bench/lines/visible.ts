import { setTimeout as delay } from 'node:timers/promises';
import { type Figure, figure, median } from '../figures.ts';
import { applyLoad } from '../load.ts';
import { bodies, rowOf } from '../rows.ts';
import type { Scale } from '../scale.ts';
import {
  asyncVariants,
  clientOf,
  createPeerTable,
  dataset,
  flushAll,
  headers,
  insertUrl,
  post,
  rowsPath,
  startPeer,
} from '../tables.ts';
import type { World } from '../world.ts';

/** How long the batcher waits between two looks at its list. */
const poll_ms = 1_000;
/** Numbers that no row of the load has. */
const probesFrom = 1_000_000_000;

type Target = {
  name: string;
  send(rows: object[]): Promise<unknown>;
  count(sql: string): Promise<number>;
  table: string;
};

/** Line 3: from the acknowledgement of a row until a query has it, while others write. */
export async function measureVisibility(world: World, { probes }: Scale): Promise<Figure[]> {
  const { timestore, ctx } = world;
  const asyncTable = await createPeerTable(ctx, 'readings');
  const batcherTable = await createPeerTable(ctx, 'batched');
  const [forwarder, batcher, direct] = await Promise.all([
    startPeer(world, 'async-insert.js', { INSERT_URL: insertUrl(world, asyncTable, asyncVariants.tuned) }),
    startPeer(world, 'polling-batcher.js', { INSERT_URL: insertUrl(world, batcherTable, 'async_insert=0') }),
    startPeer(world, 'direct-sql.js'),
  ]);
  const askDirectly = async (sql: string) => {
    const answer = await post(direct.url, { sql });
    return Number(((await answer.json()) as { data: [[number]] }).data[0][0]);
  };
  const client = clientOf(timestore);
  const targets: Target[] = [
    {
      name: 'Timestore',
      table: 'readings',
      send: (rows) => client.table(dataset, 'readings').write(rows),
      async count(sql) {
        const { rows } = await client.sql<Record<string, number>>(sql, { dataset });
        return Number(Object.values(rows[0] ?? {})[0]);
      },
    },
    { name: 'async inserts', table: asyncTable, send: (body) => post(forwarder.url, body), count: askDirectly },
    { name: 'polling batcher', table: batcherTable, send: (body) => post(batcher.url, body), count: askDirectly },
  ];
  await Promise.all(targets.map(({ send }) => send([rowOf(0)])));
  const stop = new AbortController();
  const moving = moveRegularly(batcher.url, stop.signal);
  const sent = bodies(100, 200);
  const loads = [timestore.url + rowsPath(), forwarder.url, batcher.url].map((url) =>
    writeUntil(url, sent, stop.signal),
  );
  const figures: Figure[] = [];
  try {
    await delay(poll_ms);
    for (const target of targets) {
      const rounds = await probe(target, probes);
      const first = rounds.filter(({ queries }) => queries === 1).length;
      const detail = `in the first query ${first} times of ${probes}`;
      const isOwn = target.name === 'Timestore';
      figures.push(
        figure(
          3,
          `${target.name}: acknowledged to visible`,
          'ms',
          rounds.map(({ late_ms }) => late_ms),
          {
            detail: `${detail}; median ${median(rounds.map(({ late_ms }) => late_ms)).toFixed(0)} ms`,
          },
        ),
        figure(3, `${target.name}: queries that lacked an acknowledged row`, 'count', [probes - first], {
          ...(isOwn && { goal: { most: 0 } }),
        }),
      );
    }
  } finally {
    stop.abort();
    await Promise.all([moving, ...loads]);
  }
  await flushAll(world);
  return figures;
}

/** The time from an acknowledgement to the beginning of the first query that has the row: 0 when it is the very first. */
async function probe({ send, count, table }: Target, probes: number): Promise<{ late_ms: number; queries: number }[]> {
  const rounds = [];
  for (let i = 0; i < probes; i += 1) {
    const n = probesFrom + i;
    await send([{ ...rowOf(n), n }]);
    const acknowledged = performance.now();
    let queries = 0;
    let late_ms = 0;
    for (;;) {
      if (queries > 0) late_ms = performance.now() - acknowledged;
      queries += 1;
      if ((await count(`SELECT count() FROM ${table} WHERE n = ${n}`)) === 1) break;
      if (late_ms > 60_000) throw new Error(`row ${n} was acknowledged and is not in ${table}`);
    }
    rounds.push({ late_ms, queries });
  }
  return rounds;
}

async function moveRegularly(url: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await post(`${url}/move`, '');
    await delay(poll_ms, undefined, { signal }).catch(() => undefined);
  }
}

/** A few writers beside the probes. */
async function writeUntil(url: string, sent: string[], signal: AbortSignal): Promise<void> {
  const { origin, pathname } = new URL(url);
  while (!signal.aborted) {
    await applyLoad({
      url: origin,
      connections: 2,
      seconds: 0.5,
      request: (n) => ({ path: pathname, headers, body: sent[n % sent.length] ?? '' }),
      isGood: (status) => status === 202,
    });
  }
}
