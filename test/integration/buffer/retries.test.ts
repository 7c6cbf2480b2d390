import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { afterEach, expect, test } from 'vitest';
import { deferLane } from '../../../src/buffer/due.ts';
import { noteStored, readUsage, setQuota } from '../../../src/buffer/quota.ts';
import { sealLane } from '../../../src/buffer/seal.ts';
import { StoreError } from '../../../src/core/errors.ts';
import { readCounters } from '../../../src/stores/counters.ts';
import { expectStored, flush, newDataset, newInstance, newTable, send, tableOf } from '../support.ts';
import { startOwnBuffer } from './own-buffer.ts';
import { stage } from './support.ts';

const ctx = newInstance();
// The second is sent in another way: see `Redis.evalshaWithBody`.
const sizes = [
  ['small', [1]],
  ['large', Array.from({ length: 200 }, (_, n) => n)],
] as const;
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** A server in front of the hot buffer that may keep answers back. */
async function inFront(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test.each(sizes)(
  '[elsewhere 19] a buffer that does not answer in time is away: no abort is taken for an answer (%s)',
  async (_, values) => {
    let asked = 0;
    const url = await inFront(() => {
      asked += 1; // and never answers
    });
    const table = await newTable(ctx);
    const instance = newInstance({ UPSTASH_REDIS_REST_URL: url, TIMESTORE_REDIS_TIMEOUT_MS: '500' });
    await expect(stage(instance, table, [...values])).rejects.toBeInstanceOf(StoreError);
    expect(asked).toBeGreaterThan(0);
  },
);

test.each(sizes)(
  '[elsewhere 19] when the answer to a staged batch is lost, the client’s own second try stores it once (%s)',
  async (_, values) => {
    let asked = 0;
    const real = ctx.config.UPSTASH_REDIS_REST_URL;
    const url = await inFront((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', async () => {
        const headers = { authorization: String(request.headers.authorization), 'content-type': 'application/json' };
        const body = new Uint8Array(Buffer.concat(chunks));
        const answer = await fetch(`${real}${request.url}`, { method: 'POST', headers, body });
        const text = await answer.text();
        asked += 1;
        if (asked === 1) response.destroy();
        else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(text);
      });
    });
    const table = await newTable(ctx);
    await stage(ctx, await newTable(ctx), [1]); // Redis knows the script
    const staged = await stage(newInstance({ UPSTASH_REDIS_REST_URL: url }), table, [...values]);
    expect(staged).toMatchObject({ outcome: 'replayed', batch: { seq: 1 } });
    expect(asked).toBe(2);
  },
);

/** What a Redis from before version 7 says to a script that begins with a line of flags. */
const refusal = "ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'";

test('a server that knows no flags of scripts gets them without, and is asked once', async () => {
  let refused = 0;
  const buffer = await startOwnBuffer((next) => (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      if (/"eval","#!/i.test(body.toString())) {
        refused += 1;
        response.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify({ error: refusal }));
        return;
      }
      // The body is read by now: whoever answers gets it once more.
      const { method, url, headers } = request;
      next(Object.assign(Readable.from([body]), { method, url, headers }) as IncomingMessage, response);
    });
  });
  closers.push(() => void buffer.stop());
  const instance = newInstance(buffer.env);
  const dataset = newDataset();
  await send(instance, dataset, [{ timestamp: '2026-05-01T10:00:00Z', v: 1 }]);
  expect(await flush(instance, dataset)).toMatchObject({ complete: true, rows: 1 });
  await expectStored(instance, await tableOf(instance, dataset), 1);
  expect(refused).toBe(1);
});

test('when the answer to every command is lost once, everything is counted as if none were', async () => {
  const answered = new Map<string, boolean>();
  let lost = 0;
  const buffer = await startOwnBuffer((next) => (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      const key = `${request.url} ${body}`;
      const { method, url, headers } = request;
      const again = Object.assign(Readable.from([body]), { method, url, headers }) as IncomingMessage;
      const isSecond = answered.get(key) === true;
      answered.set(key, !isSecond);
      if (isSecond) return next(again, response);
      // Done, and then the connection breaks.
      lost += 1;
      const end = response.end.bind(response);
      response.end = (() => {
        response.socket?.destroy();
        return end();
      }) as typeof response.end;
      next(again, response);
    });
  });
  closers.push(() => void buffer.stop());
  const instance = newInstance(buffer.env);
  const { keys } = instance;
  const dataset = newDataset();
  await send(instance, dataset, [{ timestamp: '2026-05-01T10:00:00Z', v: 0 }]);
  await setQuota(instance, dataset, 9, { rowsPerDay: 100, storageBytes: 1_000_000 });
  for (const v of [1, 2, 3]) await send(instance, dataset, [{ timestamp: '2026-05-01T10:00:00Z', v }]);
  const before = await readUsage(instance, dataset);
  const table = await tableOf(instance, dataset);
  expect(before).toMatchObject({ rowsToday: 3, bytesSince: before.bytesToday });

  await noteStored(instance, dataset, 500, before);
  expect(await readUsage(instance, dataset)).toMatchObject({ storedBytes: 500, bytesSince: 0 });
  // One that began before the look that is noted by now.
  await noteStored(instance, dataset, 400, before);
  expect(await readUsage(instance, dataset)).toMatchObject({ storedBytes: 500, bytesSince: 0 });

  for (let n = 0; n < 7; n += 1) instance.counters.add('timestore_ingest_replayed_total', {});
  await instance.counters.send(instance);
  expect((await readCounters(instance)).get('timestore_ingest_replayed_total')).toBe(7);

  await deferLane(instance, table, 0);
  await deferLane(instance, table, 0);
  expect(await buffer.command('HMGET', keys.state(table, 0), 'fails')).toEqual(['2']);

  const sealed = await sealLane(instance, table, 0, 1, true);
  if (!('seal' in sealed)) throw new Error(`no seal: ${sealed.outcome}`);
  expect(sealed.seal.timesTaken).toBe(1);
  const taken = await sealLane(instance, table, 0, 1, true);
  expect('seal' in taken && taken.seal.timesTaken).toBe(2);
  expect(await flush(instance, dataset)).toMatchObject({ complete: true });
  await expectStored(instance, table, 4);
  expect(lost).toBeGreaterThan(20);
});

test('what instances count is added once, also where the client gives up and the same is sent later', async () => {
  let isLost = false;
  const buffer = await startOwnBuffer((next) => (request, response) => {
    if (isLost) {
      const end = response.end.bind(response);
      response.end = (() => {
        response.socket?.destroy();
        return end();
      }) as typeof response.end;
    }
    next(request, response);
  });
  closers.push(() => void buffer.stop());
  const instance = newInstance(buffer.env);
  const { counters } = instance;
  counters.add('timestore_ingest_replayed_total', {}, 1);
  await counters.send(instance); // Redis knows the script
  isLost = true;
  counters.add('timestore_ingest_replayed_total', {}, 5);
  await counters.send(instance);
  counters.add('timestore_ingest_replayed_total', {}, 2);
  isLost = false;
  await counters.send(instance);
  expect((await readCounters(instance)).get('timestore_ingest_replayed_total')).toBe(8);
  await counters.send(instance);
  expect((await readCounters(instance)).get('timestore_ingest_replayed_total')).toBe(8);
});
