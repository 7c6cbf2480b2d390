import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Figure, figure, median } from '../figures.ts';
import { cpu_ms } from '../processes.ts';
import { bodies, rowOf } from '../rows.ts';
import type { Scale } from '../scale.ts';
import { createPeerTable, flushAll, insertUrl, post, rowsPath } from '../tables.ts';
import type { World } from '../world.ts';

const seals = 4;
/** As many as one seal moves. */
const sealRows = 50_000;
const perRequest = 5_000;

/** Line 5: a flush with every safety step beside `curl` of the same rows in inserts of the same size. */
export async function measureFlush(world: World, { rounds }: Scale): Promise<Figure[]> {
  const { timestore, ctx, env } = world;
  const table = await createPeerTable(ctx, 'curled');
  const dir = mkdtempSync(join(tmpdir(), 'timestore-bench-rows-'));
  try {
    const files = Array.from({ length: seals }, (_, s) => {
      const path = join(dir, `${s}.ndjson`);
      const lines = Array.from({ length: sealRows }, (_, i) => JSON.stringify(rowOf(s * sealRows + i)));
      writeFileSync(path, `${lines.join('\n')}\n`);
      return path;
    });
    const sent = bodies(perRequest, (seals * sealRows) / perRequest);
    await post(timestore.url + rowsPath(), [rowOf(0)]);
    await flushAll(world);
    const ratios: number[] = [];
    const speeds: number[] = [];
    const theirs: number[] = [];
    const cpus: number[] = [];
    for (let round = 0; round <= rounds; round += 1) {
      for (const body of sent) await post(timestore.url + rowsPath(), body);
      const before_ms = cpu_ms(timestore.pid);
      const took_ms = await timed(() => flushAll(world));
      const used_ms = cpu_ms(timestore.pid) - before_ms;
      const curl_ms = await timed(async () => {
        for (const file of files) {
          const auth = [
            '-H',
            `X-ClickHouse-User: ${env.CLICKHOUSE_USER}`,
            '-H',
            `X-ClickHouse-Key: ${env.CLICKHOUSE_PASSWORD}`,
          ];
          const url = insertUrl(world, table, 'async_insert=0');
          await promisify(execFile)('curl', ['-sS', '--fail-with-body', ...auth, '--data-binary', `@${file}`, url]);
        }
      });
      if (round === 0) continue;
      speeds.push((seals * sealRows * 1000) / took_ms);
      theirs.push((seals * sealRows * 1000) / curl_ms);
      ratios.push((speeds.at(-1) ?? 0) / (theirs.at(-1) ?? 0));
      cpus.push((used_ms * 1000) / (seals * sealRows));
    }
    const detail = `${Math.round(median(speeds)).toLocaleString('en')} against ${Math.round(median(theirs)).toLocaleString('en')} rows/s`;
    return [
      figure(5, 'flush: rows/s against curl', 'x', ratios, { goal: { least: 0.5 }, detail }),
      figure(5, 'flush: processor time of the runtime for a row', 'µs', cpus),
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function timed(work: () => Promise<void>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}
