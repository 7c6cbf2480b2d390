import { once } from 'node:events';
import { createWriteStream, existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, inject, test } from 'vitest';
import { atAllRows } from '../../src/catalog/lane-location.ts';
import { createContext } from '../../src/create-context.ts';
import { useCli } from '../cli/support.ts';
import { useWorker } from '../integration/http/worker.ts';
import { expectStored, newDataset, storedRows, tableOf } from '../integration/support.ts';

/** `npm run test:soak -- ingest --rows 5000000 --kills 8` does more. */
const rows = Number(process.env.INGEST_ROWS ?? 100_000);
const kills = Number(process.env.INGEST_KILLS ?? 4);

const call = useWorker({ TIMESTORE_KEY_PREFIX: `ingest-${process.pid}` });
const cli = useCli();

async function writeRows(path: string): Promise<void> {
  const file = createWriteStream(path);
  let text = '';
  for (let v = 0; v < rows; v += 1) {
    const timestamp = new Date(Date.UTC(2026, 4, 1) + v * 100).toISOString();
    text += `{"timestamp":"${timestamp}","sensor":"s${v % 100}","v":${v},"note":"row ${v} of some length"}\n`;
    if (text.length < 1_000_000) continue;
    if (!file.write(text)) await once(file, 'drain');
    text = '';
  }
  file.end(text);
  await finished(file);
}

/** Rows on record as accepted. */
function recorded(state: string): number {
  const [journal] = existsSync(state) ? globSync(join(state, '*.ndjson')) : [];
  if (journal === undefined) return 0;
  const counts = readFileSync(journal, 'utf8').matchAll(/"rows":(\d+)/g);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

test(`a file of ${rows} rows is taken whole and once, though its load is killed ${kills} times`, async () => {
  const [dataset, file, state] = [newDataset(), join(cli.home, 'rows.ndjson'), join(cli.home, 'state')];
  await writeRows(file);
  const env = { TIMESTORE_URL: call.url(), TIMESTORE_KEY: 'local-admin' };
  const args = [
    'ingest',
    file,
    '--table',
    `${dataset}.m`,
    '--state',
    state,
    '--batch-rows',
    String(Math.min(20_000, rows / 50)),
  ];
  // As Cloudflare's clock does.
  let isOver = false;
  const flushing = (async () => {
    while (!isOver) {
      await call.fireCron();
      await delay(200);
    }
  })();
  try {
    let killed = 0;
    for (let n = 0; n < kills; n += 1) {
      const target = ((n + 0.5) / kills) * rows;
      const loading = cli.start(args, env);
      const ended = loading.ended.then(() => 'ended' as const);
      while (recorded(state) < target && (await Promise.race([ended, delay(5)])) !== 'ended');
      const signal = n % 3 === 2 ? 'SIGINT' : 'SIGKILL';
      loading.kill(signal);
      const { code, stderr } = await loading.ended;
      // The last of it may have been accepted before the signal came.
      if (code === 0) continue;
      killed += 1;
      if (signal === 'SIGINT')
        expect({ code, stderr }).toEqual({
          code: 130,
          stderr: expect.stringContaining('Repeat the command to resume'),
        });
      else expect(code).toBe(null);
    }
    expect(killed).toBeGreaterThan(kills / 2);
    const last = await cli.run([...args, '--json'], env);
    expect(last).toMatchObject({ code: 0 });
    const { accepted, before } = JSON.parse(last.stdout) as { accepted: number; before: number };
    expect(accepted + before).toBe(rows);
    expect(before).toBeGreaterThan(rows / 2);
    const again = await cli.run([...args, '--json'], env);
    expect(JSON.parse(again.stdout)).toMatchObject({ accepted: 0, before: rows });
  } finally {
    isOver = true;
    await flushing;
  }
  const ctx = createContext({ ...inject('env'), TIMESTORE_KEY_PREFIX: `ingest-${process.pid}` });
  const table = await tableOf(ctx, dataset);
  await expect
    .poll(async () => {
      await call('/v1/admin/flush', { json: { dataset, table: 'm' } });
      return await storedRows(ctx, table);
    })
    .toBe(rows);
  await expectStored(ctx, table, rows);
  const { node, nameOf } = atAllRows(ctx, [table]);
  const [counted] = await node.clickhouse.rows<{ u: string; s: string }>(
    `SELECT uniqExact(v) AS u, sum(v) AS s FROM ${nameOf(table)}`,
  );
  expect({ u: Number(counted?.u), s: Number(counted?.s) }).toEqual({ u: rows, s: (rows * (rows - 1)) / 2 });
}, 900_000);
