import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { StoreError } from '../../src/core/errors.ts';
import { createPostgres } from '../../src/stores/postgres/client.ts';

/** A database that answers every statement with no rows, and the statements that it was sent. */
async function listening() {
  const sent: { query: string; params: unknown[] }[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(parts).toString());
      sent.push(...(body.queries ?? [body]));
      const result = { command: 'SELECT', fields: [], rows: [], rowCount: 0, rowAsArray: true };
      response.end(JSON.stringify(body.queries === undefined ? result : { results: body.queries.map(() => result) }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const postgres = createPostgres({
    DATABASE_URL: `postgres://u:p@127.0.0.1:${port}/d`,
    NEON_FETCH_ENDPOINT: `http://127.0.0.1:${port}/sql`,
  });
  return { sent, postgres, [Symbol.dispose]: () => void server.close() };
}

test('values are bound by name, each once, in the order of their first use', async () => {
  using db = await listening();
  await db.postgres.rows('select $b::text, $a, $b where $a_long is null', { a: 1, b: 'x', a_long: null, unused: 2 });
  await db.postgres.transaction([['select $a', { a: 'y' }], ['select $1', ['z']], ['select 1']]);
  expect(db.sent.map(({ query, params }) => [query, params])).toEqual([
    ['select $1::text, $2, $1 where $3 is null', ['x', '1', null]],
    ['select $1', ['y']],
    ['select $1', ['z']],
    ['select 1', []],
  ]);
});

test('a statement without one of its values is a defect and no outage, and is not sent', async () => {
  using db = await listening();
  for (const run of [
    () => db.postgres.rows('select $a', {}),
    () => db.postgres.transaction([['select 1'], ['select $toString', {}]]),
  ]) {
    const error = await run().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(StoreError);
    expect(String(error)).toContain('has a value for $');
  }
  expect(db.sent).toEqual([]);
});
