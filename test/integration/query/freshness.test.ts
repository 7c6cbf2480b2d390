import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { sealLane } from '../../../src/buffer/seal.ts';
import { decodeToken, encodeToken } from '../../../src/buffer/watermark-token.ts';
import { ApiError } from '../../../src/core/errors.ts';
import { at, flush, type Instance, newDataset, newInstance, query, send, sql, tableOf, through } from '../support.ts';

const ctx = newInstance();
/** Merges two rows and no more. */
const small = newInstance({ TIMESTORE_TAIL_ROWS_MAX: '2' });
/** A port without a listener. */
const noBuffer = newInstance({ UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:1' });

const ways: [
  'structured' | 'sql',
  (instance: Instance, dataset: string, body: object) => Promise<{ rows: object[] }>,
][] = [
  ['structured', query],
  ['sql', (instance, dataset, body) => sql(instance, 'SELECT * FROM m ORDER BY timestamp', { dataset, ...body })],
];

/** One row flushed, and then so many that are not. */
async function newTail(rows: number): Promise<{ dataset: string; tokens: string[] }> {
  const dataset = newDataset();
  const first = await send(ctx, dataset, [{ timestamp: at(0), v: 0 }]);
  await flush(ctx, dataset);
  const tokens = [first.accepted.watermark];
  for (let n = 1; n <= rows; n += 1)
    tokens.push((await send(ctx, dataset, [{ timestamp: at(n), v: n }])).accepted.watermark);
  return { dataset, tokens };
}

/** An instance whose hot buffer stops, in one way or another, as soon as ClickHouse is asked for the answer. */
async function losesBuffer(how: 'refuses' | 'hangs'): Promise<Instance> {
  let isStopped = false;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', async () => {
      if (isStopped && how === 'refuses') response.destroy();
      if (isStopped) return;
      const answer = await fetch(`${ctx.config.UPSTASH_REDIS_REST_URL}${request.url}`, {
        method: 'POST',
        headers: { authorization: String(request.headers.authorization), 'content-type': 'application/json' },
        body: new Uint8Array(Buffer.concat(chunks)),
      });
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const instance = newInstance({ UPSTASH_REDIS_REST_URL: url, TIMESTORE_REDIS_TIMEOUT_MS: '700' });
  return through(instance, {
    reader: (client) => ({
      ...client,
      async open(request) {
        isStopped = true;
        return await client.open(request);
      },
    }),
  });
}

/** Another flusher holds the lease of the lane. */
async function pauseFlush(dataset: string): Promise<void> {
  const table = await tableOf(ctx, dataset);
  await ctx.redis.set(ctx.keys.lease(table, 0), 'another flusher');
}

async function timed(work: () => Promise<unknown>): Promise<{ outcome: unknown; took_ms: number }> {
  const from = performance.now();
  const outcome = await work().catch((error: unknown) => error);
  return { outcome, took_ms: performance.now() - from };
}

describe.each(ways)('%s', (_, ask) => {
  test('by default and strictly, every acknowledged row is in the answer', async () => {
    const { dataset, tokens } = await newTail(2);
    for (const body of [{}, { consistency: 'strict' }, { requireFresh: true }]) {
      const answer = await ask(ctx, dataset, body);
      expect(answer.rows).toHaveLength(3);
      expect(answer).toMatchObject({ mode: 'replica+hot-buffer', watermark: tokens[2], warnings: [] });
      expect(answer).toMatchObject({ streaming: { bufferState: 'ready', rows: 2, fresh: true } });
    }
  });

  test('a strict read of a tail that is too large waits for the flush that it starts', async () => {
    const { dataset } = await newTail(3);
    const answer = await ask(small, dataset, { consistency: 'strict' });
    expect(answer.rows).toHaveLength(4);
    expect(answer).toMatchObject({ mode: 'replica-only', replicaAge_ms: 0, streaming: { fresh: true } });
  });

  test('while the flush is paused a strict read waits as long as it may, and says what there is', async () => {
    const { dataset, tokens } = await newTail(3);
    await pauseFlush(dataset);
    const { outcome, took_ms } = await timed(() => ask(small, dataset, { requireFresh: true, maxWaitMs: 400 }));
    expect(took_ms).toBeGreaterThanOrEqual(400);
    expect(outcome).toMatchObject({
      code: 'stale-read',
      extra: { required: tokens[3], current: tokens[0], lagMs: expect.any(Number) },
      retryAfterMs: expect.any(Number),
    });
    // Who did not ask for it gets a warning that rows are missing.
    const answer = await ask(small, dataset, { maxWaitMs: 100 });
    expect(answer.rows).toHaveLength(1);
    expect(answer).toMatchObject({
      mode: 'replica-only',
      watermark: tokens[0],
      warnings: [expect.stringContaining('acknowledged rows waiting to be flushed')],
      streaming: { bufferState: 'too-large', fresh: false },
    });
  });

  test('a bounded read takes ClickHouse alone while that is near enough, and the tail when it is not', async () => {
    const { dataset, tokens } = await newTail(1);
    const near = await ask(ctx, dataset, { consistency: 'bounded', maxStalenessMs: 3_600_000 });
    expect(near.rows).toHaveLength(1);
    expect(near).toMatchObject({
      mode: 'replica-only',
      watermark: tokens[0],
      streaming: { bufferState: 'skipped', fresh: false },
    });
    await expect.poll(async () => (await ask(ctx, dataset, { maxStalenessMs: 20 })).rows.length).toBe(2);
    // Then it is merged, or refused where it cannot be.
    const large = await newTail(3);
    await pauseFlush(large.dataset);
    await delay(30);
    const outcome = await ask(small, large.dataset, { maxStalenessMs: 20, maxWaitMs: 100 }).catch(
      (error: unknown) => error,
    );
    expect(outcome).toMatchObject({ code: 'stale-read', extra: { current: large.tokens[0] } });
    const flushed = await newTail(0);
    expect(await ask(ctx, flushed.dataset, { maxStalenessMs: 0 })).toMatchObject({ streaming: { fresh: true } });
  });

  test('an eventual read does not ask the buffer at all', async () => {
    const { dataset } = await newTail(1);
    for (const instance of [ctx, noBuffer]) {
      const answer = await ask(instance, dataset, { consistency: 'eventual' });
      expect(answer.rows).toHaveLength(1);
      expect(answer).toMatchObject({
        mode: 'replica-only',
        replicaAge_ms: undefined,
        watermark: undefined,
        warnings: [expect.stringContaining('eventual')],
        streaming: { bufferState: 'skipped', fresh: false, exactness: 'none', watermark: null },
      });
    }
  });

  test('a token of what was written is in the answer, whatever else is asked for', async () => {
    const { dataset, tokens } = await newTail(2);
    const [, , last] = tokens;
    for (const body of [
      { minWatermark: last },
      { min_watermark: tokens },
      { minWatermark: last, consistency: 'strict' },
      { minWatermark: last, consistency: 'bounded', maxStalenessMs: 3_600_000 },
      // From ClickHouse alone, which a flush brings it to.
      { minWatermark: last, consistency: 'eventual' },
    ]) {
      expect((await ask(ctx, dataset, body)).rows).toHaveLength(3);
    }
  });

  test('a token that the buffer does not know yet is waited for, and then refused', async () => {
    const { dataset, tokens } = await newTail(1);
    const token = decodeToken(tokens[1] ?? '');
    if (token === undefined) throw new Error('expected a token');
    const later = encodeToken({ ...token, lanes: token.lanes.map(([lane, life, seq]) => [lane, life, seq + 1]) });
    const { outcome, took_ms } = await timed(() => ask(ctx, dataset, { minWatermark: later, maxWaitMs: 300 }));
    expect(took_ms).toBeGreaterThanOrEqual(300);
    expect(outcome).toMatchObject({ code: 'stale-read', extra: { required: later, current: tokens[1] } });
    // The batch arrives while a query waits for it.
    const waiting = ask(ctx, dataset, { minWatermark: later, maxWaitMs: 8_000 });
    await send(ctx, dataset, [{ timestamp: at(5), v: 5 }]);
    expect((await waiting).rows).toHaveLength(3);
  });

  test('[elsewhere 17] a token of a life of the lane that is over is refused at once', async () => {
    const { dataset, tokens } = await newTail(1);
    const table = await tableOf(ctx, dataset);
    await ctx.redis.del(ctx.keys.state(table, 0), ctx.keys.log(table, 0));
    const wait_ms = 10_000;
    const { outcome, took_ms } = await timed(() => ask(ctx, dataset, { minWatermark: tokens[1], maxWaitMs: wait_ms }));
    expect(outcome).toMatchObject({ code: 'stale-read', message: expect.stringContaining('lost') });
    expect(took_ms).toBeLessThan(wait_ms);
  });

  test('without the buffer: a warning for who did not ask, a refusal for who did', async () => {
    const { dataset, tokens } = await newTail(1);
    const answer = await ask(noBuffer, dataset, { maxWaitMs: 50 });
    expect(answer.rows).toHaveLength(1);
    expect(answer).toMatchObject({
      mode: 'replica-only',
      replicaAge_ms: undefined,
      warnings: [expect.stringContaining('is unavailable')],
      streaming: { bufferState: 'unavailable', fresh: false, exactness: 'none' },
    });
    for (const body of [{ requireFresh: true }, { minWatermark: tokens[0] }, { maxStalenessMs: 60_000 }]) {
      const outcome = await ask(noBuffer, dataset, { ...body, maxWaitMs: 50 }).catch((error: unknown) => error);
      expect(outcome).toMatchObject({ code: 'stale-read', extra: { current: null, lagMs: null }, retryAfterMs: 1_000 });
    }
  });

  test.each(['refuses', 'hangs'] as const)(
    'an answer that cannot be validated, since the buffer %s meanwhile, is read again behind a fence',
    async (how) => {
      const { dataset, tokens } = await newTail(2);
      for (const body of [{}, { requireFresh: true }, { minWatermark: tokens[2] }]) {
        const answer = await ask(await losesBuffer(how), dataset, body);
        expect(answer.rows).toHaveLength(3);
        expect(answer).toMatchObject({
          mode: 'replica+hot-buffer',
          watermark: tokens[2],
          warnings: [],
          streaming: { fresh: true, exactness: 'fenced', rows: 2 },
        });
      }
    },
  );

  test('a seal that is under way is no reason to wait', async () => {
    const { dataset } = await newTail(2);
    const table = await tableOf(ctx, dataset);
    await sealLane(ctx, table, 0, 1, true);
    // Without any wait: a query that needed one would be refused.
    const answer = await ask(ctx, dataset, { requireFresh: true, maxWaitMs: 0 });
    expect(answer).toMatchObject({ streaming: { exactness: 'fenced', fresh: true, rows: 2 } });
  });

  test.each<[object, string]>([
    [{ consistency: 'bounded' }, 'maxStalenessMs'],
    [{ consistency: 'eventual', requireFresh: true }, 'requireFresh'],
    [{ consistency: 'strict', maxStalenessMs: 5 }, 'maxStalenessMs'],
    [{ minWatermark: 'wm1.nonsense' }, 'not a watermark token'],
    [{ minWatermark: '' }, 'not a watermark token'],
    [{ minWatermark: encodeToken({ dataset: 'other', table: 'm', lanes: [] }) }, 'which this query does not read'],
  ])('%j is refused in words', async (body, words) => {
    const { dataset } = await newTail(0);
    const outcome = await ask(ctx, dataset, body).catch((error: unknown) => error);
    expect(outcome).toBeInstanceOf(ApiError);
    expect(outcome).toMatchObject({ code: 'invalid-request', message: expect.stringContaining(words) });
  });

  test('no query waits longer than the limit', async () => {
    const { dataset } = await newTail(0);
    await expect(ask(ctx, dataset, { maxWaitMs: 10_001 })).rejects.toMatchObject({ code: 'limit-exceeded' });
  });
});

test('several tables are each as fresh as asked, each with its own token', async () => {
  const [one, two] = [await newTail(1), await newTail(1)];
  const text = `SELECT count() AS n FROM \`${one.dataset}\`.m AS a JOIN \`${two.dataset}\`.m AS b ON a.v = b.v`;
  const answer = await sql(ctx, text, { minWatermark: [one.tokens[1], two.tokens[1]] });
  expect(answer.rows).toEqual([{ n: 2 }]);
  expect(answer.watermark?.split(' ')).toEqual([one.tokens[1], two.tokens[1]]);
  // What an answer says can be sent as it is.
  await sql(ctx, text, { minWatermark: answer.watermark?.split(' ') });
});
