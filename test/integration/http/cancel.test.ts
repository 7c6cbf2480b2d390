import { beforeAll, describe, expect, test } from 'vitest';
import { Timestore } from '../../../src/client/index.ts';
import { at, newDataset, newInstance } from '../support.ts';
import { useWorker } from './worker.ts';

const call = useWorker();
const ctx = newInstance();
const dataset = newDataset();

const endless = `WITH a AS (SELECT arrayJoin(range(20000)) AS x FROM m)
  SELECT count() AS n FROM a AS p, a AS q, a AS r WHERE cityHash64(p.x, q.x, r.x) = 7`;
/** Answers at once, and goes on. */
const streamed = `WITH a AS (SELECT arrayJoin(range(20000)) AS x FROM m)
  SELECT p.x AS x, cityHash64(p.x, q.x, r.x) AS h FROM a AS p, a AS q, a AS r`;

beforeAll(async () => {
  await call(`/v1/datasets/${dataset}/tables/m/rows`, { json: { timestamp: at(1), v: 1 } });
});

/** How many statements run at ClickHouse whose SQL has a mark. */
async function running(mark: string): Promise<number> {
  const [found] = await ctx.clickhouse.rows<{ n: string }>(
    "SELECT count() AS n FROM system.processes WHERE query LIKE {like:String} AND query NOT LIKE '%system.processes%'",
    { like: `%${mark}%` },
  );
  return Number(found?.n);
}

const begins = (mark: string) => expect.poll(() => running(mark), { interval: 20 }).toBeGreaterThan(0);
/** Long before the time that a query may take by itself. */
const ends = (mark: string) => expect.poll(() => running(mark), { timeout: 15_000, interval: 20 }).toBe(0);

let marks = 0;
const newMark = () => {
  marks += 1;
  return `mark_${process.pid}_${marks}`;
};
const marked = (sql: string, mark: string) =>
  `${sql.replace('SELECT count() AS n', `SELECT count() AS ${mark}`).replace('AS h FROM', `AS ${mark} FROM`)}`;

const send = (sql: string, id: string, more: object = {}, key = 'local-admin') =>
  call('/v1/sql', { json: { sql, dataset, ...more }, headers: { 'x-request-id': id }, key });
const cancel = (id: string, key = 'local-admin') => call(`/v1/queries/${id}`, { method: 'DELETE', key });

async function newKey(scopes: object): Promise<string> {
  const answer = await call('/v1/admin/keys', { json: { name: 'reads', scopes, expiresAt: '2099-01-01T00:00:00Z' } });
  return ((await answer.json()) as { key: string }).key;
}

describe('a query is cancelled by its id', () => {
  test('by the key that began it, and is gone within a second', async () => {
    const mark = newMark();
    const answer = send(marked(endless, mark), mark);
    await begins(mark);
    expect((await cancel(mark)).status).toBe(204);
    await ends(mark);
    expect((await answer).status).toBe(409);
    expect((await (await answer).json()) as object).toMatchObject({
      type: 'urn:timestore:query-cancelled',
      retryable: false,
    });
    expect((await cancel(mark)).status).toBe(404);
  });

  test('by no other key, for which it is not there', async () => {
    const mark = newMark();
    const [own, other] = [await newKey({ sql: [dataset] }), await newKey({ sql: [dataset], query: [dataset] })];
    const answer = send(marked(endless, mark), mark, {}, own);
    await begins(mark);
    expect([(await cancel(mark, other)).status, (await cancel(mark)).status]).toEqual([404, 404]);
    expect((await cancel(mark, await newKey({ ingest: [dataset] }))).status).toBe(403);
    expect(await running(mark)).toBeGreaterThan(0);
    expect((await cancel(mark, own)).status).toBe(204);
    await ends(mark);
    expect((await answer).status).toBe(409);
  });

  test('while its rows are streamed: the answer breaks off', async () => {
    const mark = newMark();
    const answer = await send(marked(streamed, mark), mark, { format: 'ndjson' });
    expect(answer.headers.get('x-request-id')).toBe(mark);
    const reading = answer.text();
    reading.catch(() => undefined);
    await begins(mark);
    expect((await cancel(mark)).status).toBe(204);
    await ends(mark);
    await expect(reading).rejects.toThrow();
  });

  test('an id with what SQL would read is one that nothing has', async () => {
    for (const id of ["x'%20OR%201=1%20--", '%25', 'a%5C', '%'])
      expect([404, 400]).toContain((await cancel(id)).status);
  });
});

describe('the typed client takes a query back', () => {
  const connect = (more: object = {}) => new Timestore({ url: call.url(), key: 'local-admin', attempts: 1, ...more });

  /** As a proxy that hides from the server that its client has left. */
  const hiding: typeof fetch = async (input, init) => {
    const { signal, ...rest } = init ?? {};
    const answer = fetch(input, rest);
    answer.catch(() => undefined);
    if (!signal) return await answer;
    return await Promise.race([
      answer,
      new Promise<Response>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    ]);
  };

  test.each([
    ['whose end nobody waits for', fetch],
    ['behind a proxy that hides it', hiding],
  ])('%s', async (_, send) => {
    const mark = newMark();
    const own = new AbortController();
    const answer = connect({ fetch: send }).sql(marked(endless, mark), { dataset, signal: own.signal });
    answer.catch(() => undefined);
    await begins(mark);
    own.abort(new Error('enough'));
    await expect(answer).rejects.toThrow('enough');
    await ends(mark);
  });

  test('whose rows are not read to the end', async () => {
    const mark = newMark();
    let read = 0;
    for await (const __ of connect().sqlRows(marked(streamed, mark), { dataset })) {
      read += 1;
      if (read === 10) break;
    }
    await ends(mark);
    const again = newMark();
    const own = new AbortController();
    const rows = connect({ fetch: hiding }).sqlRows(marked(streamed, again), { dataset, signal: own.signal });
    await rows.next();
    await begins(again);
    own.abort(new Error('enough'));
    await ends(again);
    await rows.return();
  });

  test('and asks for nothing more once it has its answer', async () => {
    const sent: string[] = [];
    const own = new AbortController();
    const client = connect({
      fetch: async (input: RequestInfo | URL, init?: RequestInit) => {
        sent.push(`${init?.method}`);
        return await fetch(input, init);
      },
    });
    await client.sql('SELECT v FROM m', { dataset, signal: own.signal });
    for await (const __ of client.sqlRows('SELECT v FROM m', { dataset, signal: own.signal }));
    await client.table(dataset, 'm').query({ signal: own.signal });
    own.abort();
    expect(sent).toEqual(['POST', 'POST', 'POST']);
  });
});
