import { startCountingProxy } from '../counting-proxy.ts';
import { type Figure, figure, median } from '../figures.ts';
import { applyLoad } from '../load.ts';
import { cpu_ms } from '../processes.ts';
import { bodies } from '../rows.ts';
import type { Scale } from '../scale.ts';
import { clientOf, dataset, flushAll, headers, post, rowsPath } from '../tables.ts';
import { quiet, type World } from '../world.ts';

/** Line 7: what a request costs its operator: commands of the hot buffer, subrequests, processor time. */
export async function measureCost(world: World, scale: Scale): Promise<Figure[]> {
  return [...(await measureCommands(world)), ...(await measureProcessorTime(world, scale))];
}

async function measureCommands(world: World): Promise<Figure[]> {
  const { env } = world;
  const proxies = await Promise.all(
    ['UPSTASH_REDIS_REST_URL', 'CLICKHOUSE_URL', 'NEON_FETCH_ENDPOINT'].map((name) =>
      startCountingProxy(env[name] ?? ''),
    ),
  );
  const [upstash, clickhouse, neon] = proxies;
  if (upstash === undefined || clickhouse === undefined || neon === undefined) throw new Error('a proxy is missing');
  const bindings = {
    ...env,
    ...quiet,
    UPSTASH_REDIS_REST_URL: upstash.url,
    CLICKHOUSE_URL: clickhouse.url,
    NEON_FETCH_ENDPOINT: neon.url,
  };
  const worker = await world.start({ build: world.build, bindings });
  const figures: Figure[] = [];
  const count = async (name: string, work: () => Promise<unknown>, goal?: number, chunks = 1) => {
    await work(); // what an instance learns once is not counted
    for (const proxy of proxies) proxy.take();
    await work();
    const commands = upstash.take().commands;
    const subrequests = commands + clickhouse.take().requests + neon.take().requests;
    figures.push(
      figure(7, `${name}: commands of the hot buffer`, 'commands', [commands], {
        ...(goal !== undefined && { goal: { most: goal * chunks } }),
        detail: `${subrequests} subrequests in all`,
      }),
    );
  };
  try {
    const [hundred = ''] = bodies(100, 1);
    const [large = ''] = bodies(10_000, 1);
    const rows = worker.url + rowsPath();
    await count('ingest of 100 rows', () => post(rows, hundred), 1);
    let chunks = 1;
    await count('ingest of 10,000 rows in chunks', async () => {
      chunks = ((await (await post(rows, large)).json()) as { chunks?: number }).chunks ?? 1;
    });
    const cut = figures.at(-1);
    if (cut !== undefined)
      Object.assign(cut, { goal: { most: chunks }, name: `ingest of 10,000 rows in ${chunks} chunks: commands` });
    const client = clientOf(worker);
    const sql = (text: string) => client.sql(text, { dataset });
    await count('SQL over one table, fenced', () => sql('SELECT count() AS c FROM readings'), 1);
    await count(
      'structured query, fenced',
      () => client.table(dataset, 'readings').query({ limit: 10, seesOwn: false }),
      1,
    );
    const validating = await world.start({
      build: world.build,
      bindings: { ...bindings, TIMESTORE_FENCE_ROWS_MAX: '1' },
    });
    await count(
      'SQL over one table, validated',
      () => clientOf(validating).sql('SELECT sum(n) AS s FROM readings', { dataset }),
      2,
    );
    await validating.stop();
  } finally {
    await worker.stop();
    await Promise.all(proxies.map((proxy) => proxy.stop()));
  }
  await flushAll(world);
  return figures;
}

/** From the processor time of the runtime's process, the empty route's taken off: a request of one row, and each row more. */
async function measureProcessorTime({ timestore }: World, { rounds, seconds }: Scale): Promise<Figure[]> {
  const requests_ms: number[] = [];
  const rows_us: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const use = async (rows: number) => {
      const sent = bodies(Math.max(rows, 1), 50);
      const before_ms = cpu_ms(timestore.pid);
      const { requests } = await applyLoad({
        url: timestore.url,
        connections: 10,
        seconds,
        request: (n) =>
          rows === 0
            ? { path: '/health', headers, method: 'GET' }
            : { path: rowsPath(), headers, body: sent[n % sent.length] ?? '' },
        isGood: (status) => status === 202 || status === 200,
      });
      return (cpu_ms(timestore.pid) - before_ms) / requests;
    };
    const empty_ms = await use(0);
    const one_ms = (await use(1)) - empty_ms;
    const thousand_ms = (await use(500)) - empty_ms;
    if (round === 0) continue;
    requests_ms.push(one_ms);
    rows_us.push(((thousand_ms - one_ms) * 1000) / 499);
  }
  return [
    figure(7, 'ingest: processor time of a request', 'ms', requests_ms, {
      goal: { most: 0.5 },
      detail: 'of one row, beyond an empty route',
    }),
    figure(7, 'ingest: processor time of a row', 'µs', rows_us, {
      goal: { most: 3 },
      detail: `in requests of 500 rows, flushes included: ${median(rows_us).toFixed(1)} µs`,
    }),
  ];
}
