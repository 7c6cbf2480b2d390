import { expect } from 'vitest';
import { changeTable, deleteTable, requireTable } from '../../../src/catalog/change-table.ts';
import { ensureTable } from '../../../src/catalog/ensure-table.ts';
import { findTable } from '../../../src/catalog/find-table.ts';
import { mirrorBeginnings } from '../../../src/catalog/mirror-jobs.ts';
import { StoreError } from '../../../src/core/errors.ts';
import { flushLane } from '../../../src/flush/flush-lane.ts';
import { flushNow } from '../../../src/flush/flush-now.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { readReceipt } from '../../../src/ingest/receipt.ts';
import { runDueJobs } from '../../../src/jobs/runner.ts';
import { scheduleExport } from '../../../src/operations/export/export.ts';
import { scheduleImportVerification } from '../../../src/operations/import/verify.ts';
import { jobHandlers } from '../../../src/operations/job-handlers.ts';
import { auditTable } from '../../../src/operations/row-audit/audit-table.ts';
import { scheduleRowChange } from '../../../src/operations/row-changes/change-rows.ts';
import type { Answer } from '../../../src/query/execution/answer.ts';
import { queryTable } from '../../../src/query/execution/query-table.ts';
import type { Format } from '../../../src/query/request/format.ts';
import { queryBody } from '../../../src/query/request/parse.ts';
import type { Params } from '../../../src/stores/postgres/client.ts';
import { test } from '../fixtures.ts';
import { workUntilOver } from '../jobs/support.ts';
import {
  at,
  everyone,
  flush,
  type Instance,
  newDataset,
  newInstance,
  query,
  send,
  sql,
  storedRows,
  tableOf,
  textOf,
  through,
} from '../support.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `stale-life-${process.pid}` };
const ctx = newInstance(prefix);

async function drop(dataset: string, name: string): Promise<void> {
  await deleteTable(ctx, dataset, name, 0);
  const [job] = await ctx.postgres.rows<{ id: string }>(
    `select id from jobs where dataset = $1 and "table" = $2 and kind = 'drop-table' order by n desc limit 1`,
    [dataset, name],
  );
  expect(await workUntilOver(ctx, { id: job?.id ?? '' })).toMatchObject({ state: 'done', result: { dropped: true } });
}

const tablesIn = async (dataset: string) => {
  const rows = await ctx.clickhouse.rows<{ name: string }>(
    `SELECT name FROM system.tables WHERE database = {d:String} AND NOT endsWith(name, '.all') ORDER BY name`,
    { d: `ts_${dataset}` },
  );
  return rows.map(({ name }) => name);
};

/** The row of the next life: its fields have other types than before, and one is new. */
const next = { timestamp: at(2), v: 'text', w: 7 };

type Remade = {
  /** Has the first life's definition in its memory. */
  old: Instance;
  dataset: string;
  batchId: string;
  watermark: string;
};

/** A table that was dropped and made again, with one acknowledged row; another instance knows of neither. */
async function remade(): Promise<Remade> {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const old = newInstance(prefix);
  expect((await query(old, dataset)).rows).toHaveLength(1);
  await drop(dataset, 'm');
  const { accepted } = await send(ctx, dataset, [next]);
  return { old, dataset, batchId: accepted.batchId, watermark: accepted.watermark };
}

async function answer({ old, dataset }: Remade, body: object, format: Format = 'json'): Promise<Answer> {
  const asked = queryBody.parse({ tableName: 'm', ...body });
  return await queryTable(old, everyone, dataset, asked, { format, signal: new AbortController().signal });
}

const filter = (value: unknown) => ({ filters: { columns: [{ column: 'v', op: 'eq', value }] } });
const sum = { aggregations: [{ column: 'w', function: 'sum' }] };

/** Each way in of an instance that knows the life before, and what it must come to. */
const ways: Record<string, (remade: Remade) => Promise<unknown>> = {
  'a structured query': async ({ old, dataset }) => (await query(old, dataset)).rows,
  'one that must be fresh': async ({ old, dataset }) => (await query(old, dataset, { requireFresh: true })).rows,
  'one of columns that are new': async ({ old, dataset }) => (await query(old, dataset, { columns: ['w'] })).rows,
  'one with a filter of another type': async ({ old, dataset }) => (await query(old, dataset, filter('text'))).rows,
  'one by a key that reads rows by a field': async ({ old, dataset }) => {
    const reader = { ...everyone, rowFilter: { column: 'v', value: 'text' } };
    const asked = { format: 'json' as const, signal: new AbortController().signal };
    return JSON.parse(await textOf(await queryTable(old, reader, dataset, queryBody.parse({ tableName: 'm' }), asked)))
      .rows;
  },
  'one that is bounded': async ({ old, dataset }) => {
    await flush(newInstance(prefix), dataset);
    return (await query(old, dataset, { consistency: 'bounded', maxStalenessMs: 60_000 })).rows;
  },
  'one that is eventual': async ({ old, dataset }) => {
    await flush(newInstance(prefix), dataset);
    return (await query(old, dataset, { consistency: 'eventual' })).rows;
  },
  'one with a token': async ({ old, dataset, watermark }) =>
    (await query(old, dataset, { minWatermark: watermark })).rows,
  'one that follows': async ({ old, dataset, watermark }) =>
    (await query(old, dataset, { afterWatermark: watermark })).rows,
  'one in intervals': async ({ old, dataset }) => {
    const downsample = { intervalUnit: 'day', intervalSize: 1, ...sum };
    return (await query(old, dataset, { downsample })).rows[0]?.sum_w;
  },
  'one of all rows': async (found) => JSON.parse(await textOfBytes(await answer(found, { limit: null }, 'ndjson'))),
  SQL: async ({ old, dataset }) => (await sql(old, 'SELECT * FROM m', { dataset })).rows,
  'SQL that is eventual': async ({ old, dataset }) => {
    await flush(newInstance(prefix), dataset);
    return (await sql(old, 'SELECT w FROM m', { dataset, consistency: 'eventual' })).rows;
  },
  'SQL over two tables': async ({ old, dataset }) => {
    const join = 'SELECT a.w AS w, b.v AS v FROM m a JOIN m b ON a.v = b.v';
    return (await sql(old, join, { dataset })).rows;
  },
  'a flush of the table': ({ old, dataset }) => flushNow(old, { dataset, table: 'm' }),
  'a flush of everything': async ({ old, dataset, batchId }) => {
    await flushNow(old, undefined);
    return (await readReceipt(ctx, batchId)).state === 'buffered' ? dataset : 'flushed';
  },
  'a receipt': async ({ old, batchId }) => (await readReceipt(old, batchId)).state,
  'an audit': async ({ old, dataset }) => {
    const { ok, lanes } = await auditTable(old, await requireTable(old, dataset, 'm'));
    return [ok, lanes.map(({ sequence }) => sequence)];
  },
  'an export': async ({ old, dataset }) => {
    const job = await scheduleExport(old, dataset, 'm', { format: 'ndjson', columns: ['w'] }, undefined);
    return (await workUntilOver(old, job)).result?.rows;
  },
  'a deletion': async ({ old, dataset }) => {
    const job = await scheduleRowChange(old, { dataset, table: 'm', request: { rows: filter('text') as never } });
    return (await workUntilOver(old, job)).result?.rows;
  },
  'a comparison': async ({ old, dataset }) => {
    const key = `imports/${dataset}/one.ndjson`;
    await ctx.objects.put(key, JSON.stringify(next));
    const job = await scheduleImportVerification(old, dataset, 'm', { format: 'ndjson', objects: [key] }, undefined);
    return (await workUntilOver(old, job)).state;
  },
  'a mirror that begins': async ({ old, dataset }) => (await mirrorBeginnings(old, dataset)).map(({ life }) => life),
  'rows of another type': async ({ old, dataset }) => {
    await send(old, dataset, [{ timestamp: at(3), v: 'more', w: 8 }]);
    return (await query(ctx, dataset)).rows.length;
  },
  'rows with a schema': async ({ old, dataset }) => {
    const declared = { fields: [{ name: 'v', type: 'string' as const }], defaults: [] };
    const text = JSON.stringify({ timestamp: at(3), v: 'more' });
    await ingestRows(old, { dataset, table: 'm', text, format: 'json', idempotencyKey: undefined, declared });
    return (await query(ctx, dataset)).rows.length;
  },
  'rows that may go into quarantine': async ({ old, dataset }) => {
    const text = JSON.stringify({ timestamp: at(3), v: 'more', w: 8 });
    const rows = { dataset, table: 'm', text, format: 'json' as const, idempotencyKey: undefined };
    const { accepted } = await ingestRows(old, { ...rows, onError: 'quarantine' });
    return [accepted.accepted, accepted.quarantined];
  },
};

const found: Record<string, unknown> = {
  'one of columns that are new': [{ w: 7 }],
  'one that follows': [],
  'one in intervals': 7,
  'one of all rows': next,
  'SQL that is eventual': [{ w: 7 }],
  'SQL over two tables': [{ w: 7, v: 'text' }],
  'a flush of the table': 1,
  'a flush of everything': 'flushed',
  'a receipt': 'buffered',
  'an audit': [true, [1]],
  'an export': 1,
  'a deletion': 1,
  'a comparison': 'done',
  'a mirror that begins': [2],
  'rows of another type': 2,
  'rows with a schema': 2,
  'rows that may go into quarantine': [1, 0],
};

async function textOfBytes({ body }: Answer): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part as Uint8Array);
  return Buffer.concat(parts).toString();
}

test.each(Object.entries(ways))('an instance that knows the life before finds the next one: %s', async (name, way) => {
  const made = await remade();
  expect((await findTable(made.old, made.dataset, 'm'))?.life).toBe(1);
  expect(await way(made)).toEqual(found[name] ?? [next]);
  expect(await tablesIn(made.dataset)).toEqual(['m.2']);
});

test('a deletion that an instance remembers does not hide a table that was taken back, or made again', async ({
  dataset,
}) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  await deleteTable(ctx, dataset, 'm', 3_600);
  const old = newInstance(prefix);
  await expect(query(old, dataset)).rejects.toMatchObject({ code: 'not-found' });
  await changeTable(ctx, dataset, 'm', { state: 'active' });
  expect((await query(old, dataset)).rows).toHaveLength(1);
  await deleteTable(ctx, dataset, 'm', 3_600);
  await expect(query(newInstance(prefix), dataset)).rejects.toMatchObject({ code: 'not-found' });
  await findTable(old, dataset, 'm');
  await drop(dataset, 'm');
  await send(ctx, dataset, [next]);
  expect((await query(old, dataset)).rows).toEqual([next]);
});

/**
 * An instance that does something before its first statement of a kind.
 *
 * @param what matches the command of ClickHouse, or is the name of a parameter of the statement of Postgres
 */
function interrupted(between: () => Promise<void>, what: { clickhouse?: RegExp; postgres?: string }): Instance {
  const own = newInstance(prefix);
  let isOver = false;
  const before = async (isIt: boolean) => {
    if (isOver || !isIt) return;
    isOver = true;
    await between();
  };
  const { rows } = own.postgres;
  own.postgres.rows = async <Row>(text: string, params: Params = {}) => {
    await before(what.postgres !== undefined && what.postgres in params);
    return await rows<Row>(text, params);
  };
  return through(own, {
    clickhouse: (client) => ({
      ...client,
      command: async (text, ...rest) => {
        await before(what.clickhouse?.test(text) ?? false);
        return await client.command(text, ...rest);
      },
    }),
  });
}

test.each([
  ['before it makes the table', { clickhouse: /CREATE TABLE/ }],
  ['before it looks whether it may', { postgres: 'from' }],
])(
  'who makes a table in ClickHouse while it is dropped leaves none of a life that is over: dropped %s',
  async (_, when) => {
    for (const makeAgain of [false, true]) {
      const dataset = newDataset();
      await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
      const table = await tableOf(ctx, dataset);
      const slow = interrupted(async () => {
        await drop(dataset, 'm');
        if (makeAgain) await send(ctx, dataset, [next]);
      }, when);
      await expect(ensureTable(slow, table)).rejects.toMatchObject({ name: 'LifeEndedError', code: 'conflict' });
      expect(await tablesIn(dataset)).toEqual(makeAgain ? ['m.2'] : []);
    }
  },
);

test('no request creates a table in ClickHouse whose drop has broken off', async ({ dataset }) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const table = await tableOf(ctx, dataset);
  await deleteTable(ctx, dataset, 'm', 0);
  const dying = newInstance(prefix);
  dying.postgres.transaction = () => Promise.reject(new StoreError('postgres', 'did not answer', undefined));
  await runDueJobs(dying, jobHandlers, dying.now() + 100);
  expect(await tablesIn(dataset)).toEqual([]);
  await expect(ensureTable(newInstance(prefix), table)).rejects.toMatchObject({ name: 'LifeEndedError' });
  expect(await tablesIn(dataset)).toEqual([]);
});

test('a flush that sealed before its table was dropped and made again brings its rows into neither', async ({
  dataset,
}) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const first = await tableOf(ctx, dataset);
  const late = newInstance(prefix);
  const { redis } = late;
  let isSealed = false;
  const evalsha: typeof redis.evalsha = async (sha, keys, args) => {
    const reply: unknown = await redis.evalsha(sha, keys, args);
    if (!isSealed && Array.isArray(reply) && reply[0] === 'sealed') {
      isSealed = true;
      await drop(dataset, 'm');
      await send(late, dataset, [next]);
    }
    return reply as never;
  };
  late.redis = new Proxy(redis, { get: (target, name) => (name === 'evalsha' ? evalsha : Reflect.get(target, name)) });
  await expect(flushLane(late, first, 0, 'admin')).rejects.toMatchObject({ name: 'LifeEndedError' });
  expect(isSealed).toBe(true);
  await flush(newInstance(prefix), dataset);
  expect(await tablesIn(dataset)).toEqual(['m.2']);
  expect(await storedRows(ctx, await tableOf(ctx, dataset))).toBe(1);
  expect((await query(newInstance(prefix), dataset)).rows).toEqual([next]);
});

test('a query that took its cut before its table was dropped and made again answers with the rows of one life', async ({
  dataset,
}) => {
  await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
  const old = newInstance(prefix);
  await query(old, dataset);
  // So that the newest version of the schema is one that the instance has to look up after its cut.
  await send(ctx, dataset, [{ timestamp: at(2), v: 2, x: 'new' }]);
  const { redis } = old;
  let isCut = false;
  const evalsha: typeof redis.evalsha = async (sha, keys, args) => {
    const reply: unknown = await redis.evalsha(sha, keys, args);
    if (!isCut && Array.isArray(reply) && reply[1] === 'ready') {
      isCut = true;
      await drop(dataset, 'm');
      await send(newInstance(prefix), dataset, [{ timestamp: at(3), v: 'text' }]);
      await send(newInstance(prefix), dataset, [{ timestamp: at(4), w: 4 }]);
    }
    return reply as never;
  };
  old.redis = new Proxy(redis, { get: (target, name) => (name === 'evalsha' ? evalsha : Reflect.get(target, name)) });
  const { rows } = await query(old, dataset, { orderBy: [{ column: 'timestamp' }] });
  expect(isCut).toBe(true);
  expect(rows.map(({ timestamp }) => timestamp)).toEqual([at(3), at(4)]);
});

test.each([['more lanes', (own: Instance, dataset: string) => changeTable(own, dataset, 'm', { lanes: 3 })]])(
  'a change that waits for lanes of a table that is dropped meanwhile ends: %s',
  async (_, change) => {
    const dataset = newDataset();
    await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
    const own = newInstance(prefix);
    const { redis } = own;
    let isAsked = false;
    const evalsha: typeof redis.evalsha = async (sha, keys, args) => {
      // The script that makes a lane, or says that it is there.
      if (!isAsked && keys.some((key) => key.endsWith(':log:0')) && keys.length === 4) {
        isAsked = true;
        await drop(dataset, 'm');
      }
      return await redis.evalsha(sha, keys, args);
    };
    own.redis = new Proxy(redis, { get: (target, name) => (name === 'evalsha' ? evalsha : Reflect.get(target, name)) });
    await expect(change(own, dataset)).rejects.toMatchObject({ code: expect.stringMatching(/^(conflict|not-found)$/) });
    expect(isAsked).toBe(true);
  },
);
