import { type Figure, figure } from '../figures.ts';
import { applyLoad } from '../load.ts';
import { cpu_ms } from '../processes.ts';
import { bodies, rowOf } from '../rows.ts';
import type { Scale } from '../scale.ts';
import { asyncVariants, createPeerTable, flushAll, headers, insertUrl, post, rowsPath, startPeer } from '../tables.ts';
import type { World } from '../world.ts';

const perRequest = 100;
const connections = 50;

type Burden = { parts: number; merge_ms: number; cpu_ms: number };

/** Line 6: what the same rows in the same requests cost ClickHouse, each way until the last merge that they caused. */
export async function measureClickHouseLoad(world: World, { loadRows }: Scale): Promise<Figure[]> {
  const table = await createPeerTable(world.ctx, 'readings');
  const { timestore } = world;
  await post(timestore.url + rowsPath(), [rowOf(0)]);
  await flushAll(world);
  const sent = bodies(perRequest, 500);
  const own = await burden(world, 'ts_bench', async () => {
    await send(timestore.url + rowsPath(), sent, loadRows);
    await flushAll(world);
  });
  const figures: Figure[] = [];
  const theirs: { name: string; burden: Burden }[] = [];
  for (const [name, settings] of Object.entries(asyncVariants)) {
    const peer = await startPeer(world, 'async-insert.js', { INSERT_URL: insertUrl(world, table, settings) });
    theirs.push({ name, burden: await burden(world, 'ts_peer', () => send(`${peer.url}/`, sent, loadRows)) });
    await peer.stop();
  }
  // The one that is easier on ClickHouse counts.
  for (const [what, of, goal] of [
    ['parts created', ({ parts }: Burden) => parts, { most: 1 / 20 }],
    ['processor time', ({ cpu_ms: ms }: Burden) => ms, { most: 0.5 }],
    ['time in merges', ({ merge_ms: ms }: Burden) => ms, undefined],
  ] as const) {
    const [best] = [...theirs].sort((a, b) => of(a.burden) - of(b.burden));
    if (best === undefined) continue;
    figures.push(
      figure(
        6,
        `${loadRows.toLocaleString('en')} rows, ${perRequest} a request: ${what} against async inserts`,
        'x',
        [of(own) / of(best.burden)],
        {
          ...(goal !== undefined && { goal }),
          detail: `${of(own)} against ${of(best.burden)}${what === 'parts created' ? '' : ' ms'} (async inserts, ${best.name})`,
        },
      ),
    );
  }
  return figures;
}

async function send(url: string, sent: string[], rows: number): Promise<void> {
  const { origin, pathname } = new URL(url);
  await applyLoad({
    url: origin,
    connections,
    requests: rows / perRequest,
    request: (n) => ({ path: pathname, headers, body: sent[n % sent.length] ?? '' }),
    isGood: (status) => status === 202,
  });
}

/** What happens in one database from the beginning of some work until no merge runs any more. */
async function burden({ ctx, stack }: World, database: string, work: () => Promise<void>): Promise<Burden> {
  const pid = stack.engines.clickhouse.pid ?? 0;
  const [begin] = await ctx.clickhouse.rows<{ now: string }>('SELECT toString(now64(6)) AS now');
  const before_ms = cpu_ms(pid);
  await work();
  for (let quiet = 0; quiet < 10; ) {
    const [merges] = await ctx.clickhouse.rows<{ n: string }>(
      'SELECT count() AS n FROM system.merges WHERE database = {database:String}',
      { database },
    );
    quiet = merges?.n === '0' ? quiet + 1 : 0;
  }
  const used_ms = cpu_ms(pid) - before_ms;
  await ctx.clickhouse.command('SYSTEM FLUSH LOGS');
  const [found] = await ctx.clickhouse.rows<{ parts: string; merge_ms: string }>(
    `SELECT countIf(event_type = 'NewPart') AS parts, sumIf(duration_ms, event_type = 'MergeParts') AS merge_ms
       FROM system.part_log WHERE database = {database:String} AND event_time_microseconds >= {since:String}`,
    { database, since: begin?.now ?? '' },
  );
  return { parts: Number(found?.parts), merge_ms: Number(found?.merge_ms), cpu_ms: used_ms };
}
