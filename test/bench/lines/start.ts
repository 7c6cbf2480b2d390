import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { type Figure, figure } from '../figures.ts';
import { cpu_ms } from '../processes.ts';
import { rowOf } from '../rows.ts';
import type { Scale } from '../scale.ts';
import { post, rowsPath } from '../tables.ts';
import type { World } from '../world.ts';

/** Line 10: the bundle's size, what its start costs, and when it first answers. */
export async function measureStart(world: World, { rounds }: Scale): Promise<Figure[]> {
  const parts = readdirSync(world.build).filter((name) => /\.(?:js|lua|sql)$/.test(name));
  const bundle = Buffer.concat(parts.map((name) => readFileSync(join(world.build, name))));
  await post(world.timestore.url + rowsPath(), [rowOf(0)]);
  const first_ms: number[] = [];
  const starts_ms: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    starts_ms.push(await startUp(join(world.build, 'worker.js')));
    const worker = await world.start({ build: world.build, bindings: world.env });
    const before = performance.now();
    await post(worker.url + rowsPath(), [rowOf(1)]);
    first_ms.push(performance.now() - before);
    cpu_ms(worker.pid);
    await worker.stop();
  }
  return [
    figure(10, 'bundle, gzipped', 'KiB', [gzipSync(bundle).length / 1024], { goal: { most: 1024 } }),
    figure(10, 'processor time to evaluate the bundle', 'ms', starts_ms, {
      goal: { most: 50 },
      detail: 'V8 of Node.js, nothing cached',
    }),
    figure(10, 'first request of a new runtime: rows acknowledged', 'ms', first_ms),
  ];
}

/** Compiling and running the module's top level; its clients are made with the first request. */
async function startUp(path: string): Promise<number> {
  const program = `
    const before = process.cpuUsage();
    await import(${JSON.stringify(path)});
    const { user, system } = process.cpuUsage(before);
    console.log((user + system) / 1000);`;
  const texts = join(import.meta.dirname, '..', '..', '..', 'local', 'text-modules.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--import',
    texts,
    '--input-type=module',
    '-e',
    program,
  ]);
  return Number(stdout);
}
