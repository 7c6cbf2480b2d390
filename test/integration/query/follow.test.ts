import { expect, test } from 'vitest';
import { changeTable } from '../../../src/catalog/change-table.ts';
import { at, clickhouseAt, flush, newDataset, newInstance, query, send, tableOf } from '../support.ts';

const ctx = newInstance();

/** Everything that came after a token, by pages of `limit`, and the token to go on with. */
async function follow(dataset: string, afterWatermark: string, limit = 7) {
  const seen: number[] = [];
  let token = '';
  let cursor: string | null | undefined;
  do {
    const answer = await query(ctx, dataset, { afterWatermark, limit, columns: ['v'], ...(cursor && { cursor }) });
    seen.push(...answer.rows.map(({ v }) => v as number));
    token = answer.watermark ?? '';
    cursor = answer.cursor;
  } while (cursor);
  return { seen, token };
}

test('who follows a table by its tokens sees each row once, late ones too, whatever is flushed meanwhile', async () => {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(30), v: -1 }]);
  let { watermark: token = '' } = await query(ctx, dataset);
  const sent: number[] = [];
  let isWriting = true;
  const writing = (async () => {
    for (let v = 0; v < 120; v += 3) {
      // Times that go back: no order of time finds these.
      await send(
        ctx,
        dataset,
        [0, 1, 2].map((n) => ({ timestamp: at((v * 7) % 60), v: v + n })),
      );
      sent.push(v, v + 1, v + 2);
      if (v % 9 === 0) await flush(ctx, dataset);
    }
    isWriting = false;
  })();
  const seen: number[] = [];
  for (let isLast = false; !isLast; ) {
    isLast = !isWriting;
    const next = await follow(dataset, token);
    seen.push(...next.seen);
    token = next.token;
  }
  await writing;
  expect(seen.sort((a, b) => a - b)).toEqual(sent);
  expect((await follow(dataset, token)).seen).toEqual([]);
});

test('rows of a lane that has come since are new', async () => {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const { watermark: token = '' } = await query(ctx, dataset);
  await changeTable(ctx, dataset, 'm', { lanes: 4 });
  for (let v = 2; v < 30; v += 1) await send(ctx, dataset, [{ timestamp: at(1), v }]);
  const { seen } = await follow(dataset, token, 100);
  expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 28 }, (_, i) => i + 2));
});

test('intervals can be of new rows alone, and the buffer alone knows them too', async () => {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await flush(ctx, dataset);
  const { watermark: token = '' } = await query(ctx, dataset);
  await send(ctx, dataset, [{ timestamp: at(1, 2), v: 2 }]);
  const next = await query(ctx, dataset);
  await send(ctx, dataset, [{ timestamp: at(2, 2), v: 3 }]);
  const downsample = { intervalUnit: 'day', aggregations: [{ function: 'count' }] };
  expect((await query(ctx, dataset, { downsample, afterWatermark: token })).rows).toMatchObject([{ count: 2 }]);
  const away = newInstance(clickhouseAt('http://127.0.0.1:9'));
  const body = { afterWatermark: next.watermark, timeRange: { start: at(0, 2) } };
  expect((await query(away, dataset, body)).rows.map(({ v }) => v)).toEqual([3]);
});

test('a token of an earlier life of the buffer, of another table or an unknown one is rejected', async () => {
  const [dataset, other] = [newDataset(), newDataset()];
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await send(ctx, other, [{ timestamp: at(1), v: 1 }]);
  const { watermark: token = '' } = await query(ctx, dataset);
  const refused = (message: string) => ({ code: 'invalid-request', message: expect.stringMatching(message) });
  const foreign = `a token belongs to table m of dataset ${dataset}, which this query does not read`;
  for (const member of ['afterWatermark', 'minWatermark', 'min_watermark']) {
    await expect(query(ctx, other, { [member]: token })).rejects.toMatchObject(refused(`^${member}: ${foreign}`));
    await expect(query(ctx, dataset, { [member]: 'wm1.x' })).rejects.toMatchObject(
      refused(`^${member}: this is not a watermark token`),
    );
  }
  const table = await tableOf(ctx, dataset);
  await ctx.redis.del(ctx.keys.state(table, 0));
  await expect(query(ctx, dataset, { afterWatermark: token })).rejects.toMatchObject({ code: 'stale-read' });
});
