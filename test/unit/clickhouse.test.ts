import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StoreError } from '../../src/core/errors.ts';
import { createClickHouse } from '../../src/stores/clickhouse/client.ts';

/** Takes requests and never answers. */
const server = createServer();
beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const silent = () => createClickHouse(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, 'user', 'password');
const request = { body: 'SELECT 1', settings: {}, timeout_ms: 20 };

test('a server that does not answer in time has refused nothing', async () => {
  await expect(silent().send(request)).rejects.toThrow(StoreError);
  const never = new AbortController().signal;
  await expect(silent().open({ ...request, signal: never })).rejects.toThrow(StoreError);
});

test('nor has one that is not waited for any more', async () => {
  const over = new AbortController();
  const asked = silent().open({ ...request, timeout_ms: 10_000, signal: over.signal });
  over.abort();
  await expect(asked).rejects.toThrow(StoreError);
});
