import { type Figure, figure } from '../figures.ts';
import { memoryOf } from '../processes.ts';
import { bodies, rowOf } from '../rows.ts';
import type { Scale } from '../scale.ts';
import { clientOf, dataset, flushAll, headers, post, rowsPath } from '../tables.ts';
import type { Running, World } from '../world.ts';
import { createTables, storeRows } from './queries.ts';

const mebibyte = 1024 * 1024;
const goal = { most: 128 };
const v8Flags = '--max-heap-size=64';

/**
 * Line 9: how much the runtime's memory grows beyond what it has when nothing is asked of it, each in a runtime of its own.
 * Cloudflare gives an instance 128 MiB for its heap and the buffers outside of it. The heap may have half of that here, so
 * that V8 collects what is left over in time, and ends if more is needed; what it has not collected is counted.
 */
export async function measureMemory(world: World, { exportRows }: Scale): Promise<Figure[]> {
  await createTables(world);
  await storeRows(world, 0, exportRows);
  const figures: Figure[] = [];
  const large = bodies(40_000, 1).map((body) => body.padEnd(10 * mebibyte - 1))[0] ?? '';
  const few = bodies(5_000, 10);
  const work = {
    'bodies of 10 MiB': ({ url }: Running) => post(url + rowsPath('large'), large),
    'flush of 50,000 rows': async ({ url }: Running, n: number) => {
      for (const body of few) await post(url + rowsPath(`flushed${n}`), body);
      await clientOf({ url }).call('POST', '/v1/admin/flush', { body: { dataset, table: `flushed${n}` } });
    },
    [`export of ${exportRows.toLocaleString('en')} rows`]: async ({ url }: Running) => {
      for await (const _ of clientOf({ url }).sqlRows('SELECT * FROM readings', { dataset }));
    },
  };
  for (const [name, ask] of Object.entries(work)) {
    for (const atOnce of [1, 4]) {
      const worker = await world.start({ build: world.build, bindings: world.env, v8Flags });
      await post(worker.url + rowsPath(), [rowOf(0)]);
      await fetch(`${worker.url}/ready`, { headers });
      const idle = memoryOf(worker.pid).now;
      await Promise.all(Array.from({ length: atOnce }, (_, n) => ask(worker, n)));
      const grown = (memoryOf(worker.pid).most - idle) / mebibyte;
      figures.push(
        figure(9, `${name}${atOnce > 1 ? `, ${atOnce} at once` : ''}`, 'MiB', [grown], {
          goal,
          detail: `on top of ${(idle / mebibyte).toFixed(0)} MiB of the runtime itself`,
        }),
      );
      await worker.stop();
      await flushAll(world);
    }
  }
  return figures;
}
