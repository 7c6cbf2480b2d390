import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Figure, figure } from '../figures.ts';
import { cpu_ms } from '../processes.ts';
import { rowOf } from '../rows.ts';
import type { Scale } from '../scale.ts';
import { post, rowsPath, startPeer } from '../tables.ts';
import type { Running, World } from '../world.ts';

/** Line 10: the bundle's size, what its start costs, and when it first answers. */
export async function measureStart(world: World, { rounds }: Scale): Promise<Figure[]> {
  const parts = readdirSync(world.build).filter((name) => /\.(?:js|lua|sql|md)$/.test(name));
  const bundle = Buffer.concat(parts.map((name) => readFileSync(join(world.build, name))));
  await post(world.timestore.url + rowsPath(), [rowOf(0)]);
  const first_ms: number[] = [];
  const starts_ms: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const worker = await world.start({ build: world.build, bindings: world.env });
    const small = await startPeer(world, 'direct-sql.js');
    starts_ms.push((await started_ms(worker)) - (await started_ms(small)));
    const before = performance.now();
    await post(worker.url + rowsPath(), [rowOf(1)]);
    first_ms.push(performance.now() - before);
    await Promise.all([worker.stop(), small.stop()]);
  }
  return [
    figure(10, 'bundle, gzipped', 'KiB', [gzipSync(bundle).length / 1024], { goal: { most: 1024 } }),
    figure(10, 'processor time to start', 'ms', starts_ms, {
      goal: { most: 50 },
      detail: 'of the runtime, beyond that with a Worker of a few lines',
    }),
    figure(10, 'first rows acknowledged by a new runtime', 'ms', first_ms),
  ];
}

/** What a runtime has used by its first answer, which asks nothing of any store. */
async function started_ms({ url, pid }: Running): Promise<number> {
  await (await fetch(`${url}/health`)).arrayBuffer();
  return cpu_ms(pid);
}
