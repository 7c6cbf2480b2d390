import { describe, expect, test } from 'vitest';
import { snapshotTable } from '../../src/buffer/snapshot.ts';
import { changeTable } from '../../src/catalog/change-table.ts';
import { readListed } from '../../src/catalog/list-tables.ts';
import { migrate } from '../../src/cli/migrate.ts';
import { everywhereName, qualifiedName } from '../../src/core/identifiers.ts';
import type { Context } from '../../src/create-context.ts';
import { flushDue } from '../../src/flush/flush-due.ts';
import { flushLane } from '../../src/flush/flush-lane.ts';
import { openRecords, replayRecords } from '../../src/operations/quarantine/replay.ts';
import { reconcileTable } from '../../src/operations/reconcile/reconcile-table.ts';
import { auditTable } from '../../src/operations/row-audit/audit-table.ts';
import { atShard, everyNode, type NodeContext } from '../../src/stores/clickhouse/servers.ts';
import { at, expectStored, flush, newDataset, query, send, sql, tableOf } from '../integration/support.ts';
import { useCluster } from './support.ts';

const { instance, without, env, stack } = useCluster();

/** A batch for every lane: which one a batch goes to is a matter of its key. */
async function sendToAll(ctx: Context, dataset: string, from: number, count = 60): Promise<number[]> {
  const ids = Array.from({ length: count }, (_, i) => from + i);
  for (const id of ids) await send(ctx, dataset, [{ timestamp: at(id % 60, 1 + (id % 3)), id, v: id % 7 }], `k${id}`);
  return ids;
}

async function rowsAt(ctx: Context, dataset: string): Promise<number[]> {
  const table = await tableOf(ctx, dataset);
  return await Promise.all(
    [1, 2, 3].map(async (shard) => {
      const sqlText = `SELECT count() AS n FROM ${qualifiedName(table)}`;
      const [found] = await atShard(ctx, shard).clickhouse.rows<{ n: string }>(sqlText);
      return Number(found?.n);
    }),
  );
}

const idsOf = async (ctx: Context, dataset: string) => {
  const { rows } = await query(ctx, dataset, { columns: ['id'], limit: 10_000 });
  return rows.map(({ id }) => Number(id)).sort((a, b) => a - b);
};

/** Whether a server runs a statement with a text, and waits for others. */
async function runs({ clickhouse }: NodeContext, text: string): Promise<boolean> {
  const [found] = await clickhouse.rows<{ n: string }>(
    "SELECT count() AS n FROM system.processes WHERE query LIKE {like:String} AND query NOT LIKE '%processes%' AND elapsed > 0.3",
    { like: `%${text}%` },
  );
  return found?.n !== '0';
}

describe('a table with a lane on each shard', () => {
  test('its rows are on the shards of their lanes, and every answer is of all of them and of those that wait', async () => {
    const ctx = instance();
    const dataset = newDataset();
    const ids = await sendToAll(ctx, dataset, 0);
    await flush(ctx, dataset);
    const perShard = await rowsAt(ctx, dataset);
    expect(Math.min(...perShard)).toBeGreaterThan(0);
    expect(perShard.reduce((a, b) => a + b)).toBe(60);
    await expectStored(ctx, await tableOf(ctx, dataset), 60);
    ids.push(...(await sendToAll(ctx, dataset, 60, 20)));

    expect(await idsOf(instance(), dataset)).toEqual(ids);
    const answer = await query(instance(), dataset, { limit: 1_000 });
    expect(answer.sources).toEqual({ published: { rows: 60, partitions: 3 }, hotBuffer: { rows: 20 } });
    const totals = await sql(ctx, 'SELECT v, count() AS n, sum(id) AS s FROM m GROUP BY v ORDER BY v', { dataset });
    const expected = [...Map.groupBy(ids, (id) => id % 7)].map(([v, of]) => {
      return { v, n: of.length, s: of.reduce((a, b) => a + b) };
    });
    expect(totals.rows).toEqual(expected.sort((a, b) => a.v - b.v));
    const self = 'SELECT count() AS n FROM m AS a JOIN m AS b ON a.id = b.id WHERE b.v = 3';
    const inside = 'SELECT count() AS n FROM m WHERE id IN (SELECT id FROM m WHERE v = 3)';
    const threes = ids.filter((id) => id % 7 === 3).length;
    for (const text of [self, inside]) expect((await sql(ctx, text, { dataset })).rows).toEqual([{ n: threes }]);
    const down = await query(ctx, dataset, {
      downsample: { intervalUnit: 'day', aggregations: [{ function: 'count', as: 'n' }] },
    });
    expect(down.rows.map(({ n }) => n)).toEqual([0, 1, 2].map((day) => ids.filter((id) => id % 3 === day).length));
    expect(await auditTable(ctx, await tableOf(ctx, dataset))).toMatchObject({ ok: true, missing: 0, doubled: 0 });
  });

  test('pages of it are of one cut, in one order, whichever shards the rows come from', async () => {
    const ctx = instance();
    const dataset = newDataset();
    await sendToAll(ctx, dataset, 0, 50);
    await flush(ctx, dataset);
    await sendToAll(ctx, dataset, 50, 10);
    const body = { columns: ['id'], orderBy: [{ column: 'id', direction: 'desc' }], limit: 7 };
    const seen: unknown[] = [];
    let cursor: string | null | undefined;
    do {
      const page = await query(instance(), dataset, { ...body, ...(cursor && { cursor }) });
      seen.push(...page.rows.map(({ id }) => id));
      cursor = page.cursor;
      if (seen.length === 7) await sendToAll(ctx, dataset, 100, 5);
      await flush(ctx, dataset);
    } while (cursor !== null);
    expect(seen).toEqual(Array.from({ length: 60 }, (_, i) => 59 - i));
  });

  test('an instance that has not heard of new lanes looks them up before it answers', async () => {
    const ctx = instance({ TIMESTORE_LANES_DEFAULT: '1' });
    const dataset = newDataset();
    const ids = await sendToAll(ctx, dataset, 0, 5);
    await flush(ctx, dataset);
    const old = [instance(), instance()] as const;
    for (const each of old) expect(await idsOf(each, dataset)).toEqual(ids);
    await changeTable(ctx, dataset, 'm', { lanes: 'spread' });
    ids.push(...(await sendToAll(ctx, dataset, 5, 30)));
    await flush(ctx, dataset);
    expect(Math.min(...(await rowsAt(ctx, dataset)))).toBeGreaterThan(0);
    expect(await idsOf(old[0], dataset)).toEqual(ids);
    expect((await sql(old[1], 'SELECT count() AS n FROM m', { dataset })).rows).toEqual([{ n: 35 }]);
  });

  test('a definition that an older version has left in the buffer says nothing of where the lanes are', async () => {
    const ctx = instance();
    const dataset = newDataset();
    const ids = await sendToAll(ctx, dataset, 0, 30);
    await flush(ctx, dataset);
    const key = ctx.keys.table(dataset, 'm');
    const { shards, ...older } = JSON.parse((await ctx.redis.hget<string>(key, 'definition')) ?? '{}');
    expect(new Set(shards)).toEqual(new Set([1, 2, 3]));
    await ctx.redis.hset(key, { definition: JSON.stringify(older) });
    expect(await idsOf(instance(), dataset)).toEqual(ids);
    expect(JSON.parse((await ctx.redis.hget<string>(key, 'definition')) ?? '{}')).toMatchObject({ shards });
  });

  test('lanes of a table that an older version made are on the first shard, also those that are not written any more', async () => {
    const ctx = instance();
    const dataset = newDataset();
    await sendToAll(ctx, dataset, 0, 1);
    await ctx.postgres.rows(
      `update tables set definition = definition - 'shards' || '{"lanes": 2, "readLanes": 4}' where dataset = $1`,
      [dataset],
    );
    expect(await readListed(ctx, dataset, 'm')).toMatchObject({ lanes: 2, shards: [1, 1, 1, 1] });
  });

  test('tables of one lane begin on different shards', async () => {
    const ctx = instance({ TIMESTORE_LANES_DEFAULT: '1' });
    const shards = new Set<number>();
    for (let n = 0; n < 40 && shards.size < 3; n += 1) {
      const dataset = newDataset();
      await send(ctx, dataset, [{ timestamp: at(1), v: 1 }]);
      for (const shard of (await tableOf(ctx, dataset)).shards) shards.add(shard);
    }
    expect([...shards].sort()).toEqual([1, 2, 3]);
  });
});

describe('with a node down', () => {
  test('rows are accepted, lanes of other shards are flushed, what needs it says so, and it catches up', async () => {
    // More lanes than a pass tries at once.
    const prefix = { TIMESTORE_KEY_PREFIX: `down-${process.pid}`, TIMESTORE_LANES_DEFAULT: '12' };
    const ctx = instance(prefix);
    const [dataset, small] = [newDataset(), newDataset()];
    const one = instance({ ...prefix, TIMESTORE_LANES_DEFAULT: '1' });
    await sendToAll(ctx, dataset, 0, 30);
    await send(one, small, [{ timestamp: at(1), v: 1 }]);
    await flush(ctx, dataset);
    await flush(ctx, small);
    const table = await tableOf(ctx, dataset);
    const [home = 1] = (await tableOf(ctx, small)).shards;
    const gone = 1 + (home % 3);
    await without([gone], async () => {
      await sendToAll(instance(prefix), dataset, 30, 30);
      const late = instance(prefix);
      const pass = await flushDue(late, late.now() + 30_000, 'cron');
      expect(pass).toMatchObject({ stopped: true });
      expect(pass.failed).toBeGreaterThan(0);
      // What waits for the node stays; the rest is in ClickHouse.
      const snapshot = await snapshotTable(late, table, 'state');
      if (snapshot === 'unknown') throw new Error('a lane is unknown');
      const waiting = snapshot.lanes.filter(({ pendingRows }) => pendingRows > 0);
      expect(new Set(waiting.map(({ lane }) => table.shards[lane]))).toEqual(new Set([gone]));
      expect(pass.rows).toBe(30 - waiting.reduce((sum, { pendingRows }) => sum + pendingRows, 0));
      await expect(idsOf(instance(prefix), dataset)).rejects.toMatchObject({
        code: 'unavailable',
        store: 'clickhouse',
      });
      await expect(sql(instance(prefix), 'SELECT count() FROM m', { dataset })).rejects.toThrow(/does not answer/);
      // A table whose shard is up knows nothing of it, and a new one is made where it can be.
      expect((await query(instance(prefix), small)).rows).toHaveLength(1);
      await send(instance(prefix), small, [{ timestamp: at(2), v: 2 }]);
      expect(await flush(instance(prefix), small)).toMatchObject({ complete: true });
    });
    expect(await idsOf(instance(prefix), dataset)).toHaveLength(60);
    expect(await flush(instance(prefix), dataset)).toMatchObject({ complete: true });
    await expectStored(ctx, table, 60);
    expect(await auditTable(instance(prefix), table)).toMatchObject({ ok: true });
  });

  test('a field that came meanwhile is on the node before it is used again', async () => {
    const ctx = instance();
    const dataset = newDataset();
    await sendToAll(ctx, dataset, 0, 30);
    await flush(ctx, dataset);
    const table = await tableOf(ctx, dataset);
    const lane = table.shards.indexOf(2);
    await without([2], async () => {
      const other = instance();
      for (let id = 30; id < 60; id += 1) {
        await send(other, dataset, [{ timestamp: at(id % 60), id, v: 1, fresh: `f${id}` }], `k${id}`);
      }
      for (const each of table.shards.keys()) if (each !== lane) await flushLane(other, table, each, 'admin');
    });
    // A reader comes first, and then the flush of the lane.
    const reader = instance();
    const found = await query(reader, dataset, { columns: ['id', 'fresh'], limit: 1_000 });
    expect(found.rows.filter(({ fresh }) => fresh !== null)).toHaveLength(30);
    expect(found.rows).toHaveLength(60);
    expect(await flush(instance(), dataset)).toMatchObject({ complete: true });
    expect(await rowsAt(ctx, dataset)).not.toContain(0);
    const all = await sql(instance(), 'SELECT count() AS n, uniqExact(fresh) AS f FROM m', { dataset });
    expect(all.rows).toEqual([{ n: 60, f: 30 }]);
  });

  test('rows quarantined meanwhile are replayed with a field that is missing on the shard of the trial', async () => {
    const ctx = instance();
    const soon = instance({ TIMESTORE_INSERT_TIMEOUT_MS: '1' });
    const dataset = newDataset();
    const ids = await sendToAll(ctx, dataset, 0, 30);
    await flush(ctx, dataset);
    const table = await tableOf(ctx, dataset);
    const alter = async (change: string) => {
      for (const node of everyNode(ctx)) await node.clickhouse.rows(`ALTER TABLE ${qualifiedName(table)} ${change}`);
    };
    await alter('ADD CONSTRAINT small CHECK v < 100');
    const sendPoison = async (id: number, more = {}) => {
      await send(instance(), dataset, [{ timestamp: at(id % 60), id, v: 100, ...more }], `k${id}`);
      ids.push(id);
    };
    // The first one makes the table of what is set aside, which it takes every node for.
    await sendPoison(30);
    await flush(ctx, dataset);
    const [tried = 0] = table.shards;
    await without([tried], async () => {
      for (let id = 31; id < 41; id += 1) await sendPoison(id, { fresh: `f${id}` });
      for (const [lane, shard] of table.shards.entries()) {
        if (shard !== tried) await flushLane(instance(), table, lane, 'admin');
      }
    });
    await alter('DROP CONSTRAINT small');
    const records = await openRecords(instance(), dataset, { limit: 100 });
    expect(records.length).toBeGreaterThan(1);
    expect(await replayRecords(soon, dataset, records)).toMatchObject({ replayed: records.length, refused: [] });
    expect(await idsOf(instance(), dataset)).toEqual(ids);
    expect(await flush(instance(), dataset)).toMatchObject({ complete: true });
    await expectStored(ctx, await tableOf(instance(), dataset), 41);
    const all = await sql(instance(), 'SELECT count() AS n, uniqExact(fresh) AS f FROM m', { dataset });
    expect(all.rows).toEqual([{ n: 41, f: 10 }]);
  });

  test('a node that comes back without the table is given it where no row of it was there', async () => {
    const ctx = instance();
    const dataset = newDataset();
    await without([3], async () => {
      const one = instance({ TIMESTORE_LANES_DEFAULT: '2' });
      // Two lanes: one of them may have been on the node that is down, and then the table cannot be made.
      await send(one, dataset, [{ timestamp: at(1), v: 1 }]).catch(() => undefined);
    });
    await send(ctx, dataset, [{ timestamp: at(2), v: 2 }]);
    const table = await tableOf(instance(), dataset);
    await changeTable(instance(), dataset, 'm', { lanes: 'spread' });
    expect((await reconcileTable(instance(), table)).drift.filter(({ mended }) => !mended)).toEqual([]);
    for (const node of everyNode(ctx)) {
      for (const name of [qualifiedName(table), everywhereName(table)]) {
        await node.clickhouse.rows(`SELECT count() FROM ${name}`);
      }
    }
  });
});

describe('the addresses', () => {
  const reordered = () => {
    const [first = '', second = '', third = ''] = (env().CLICKHOUSE_SHARDS ?? '').split(' ');
    return { CLICKHOUSE_SHARDS: [second, first, third].join(' ') };
  };

  test('in another order nothing is written or read, and a migration says why', async () => {
    const ctx = instance();
    const dataset = newDataset();
    await sendToAll(ctx, dataset, 0, 30);
    await flush(ctx, dataset);
    await sendToAll(ctx, dataset, 30, 30);
    const wrong = instance(reordered());
    const table = await tableOf(ctx, dataset);
    for (const lane of table.shards.keys()) {
      if (table.shards[lane] === 3) continue;
      await expect(flushLane(wrong, table, lane, 'admin')).rejects.toThrow(/has a node that is shard [12]/);
    }
    await expect(migrate({ ...env(), ...reordered() })).rejects.toThrow(
      /is shard 2, and CLICKHOUSE_SHARDS has it as shard 1/,
    );
    expect(await flush(instance(), dataset)).toMatchObject({ complete: true });
    await expectStored(ctx, table, 60);
  });

  test('a shard that dies in the middle of a query is what fails, and not the query', async () => {
    const ctx = instance();
    const dataset = newDataset();
    await sendToAll(ctx, dataset, 0, 30);
    await flush(ctx, dataset);
    const { nodes } = stack();
    const expected = (await sql(ctx, 'SELECT sum(v) AS sum FROM m', { dataset })).rows[0]?.sum;
    const said: unknown[] = [];
    // From the last one: another is asked after each that did not answer, and one at least is not the one that is asked.
    for (const [i, node] of [...nodes.entries()].reverse()) {
      const others = everyNode(ctx).filter(({ shard }) => shard !== i + 1);
      node.kill('SIGSTOP');
      const answer = sql(ctx, `SELECT sum(v) AS sum, ${i} AS stopped FROM m`, { dataset }).then(
        ({ rows }) => rows[0]?.sum,
        (error) => error,
      );
      // Where the one that was stopped is asked itself, no other one gets the query before it is gone.
      const isWaiting = async () => (await Promise.all(others.map((at) => runs(at, `${i} AS stopped`)))).some(Boolean);
      await expect
        .poll(isWaiting, { timeout: 3_000 })
        .toBe(true)
        .catch(() => undefined);
      node.kill('SIGKILL');
      said.push(await answer);
      await node.restart();
    }
    const failed = said.filter((each) => each !== expected);
    expect(failed.length).toBeGreaterThan(0);
    for (const each of failed) expect(each).toMatchObject({ code: 'unavailable' });
  });

  test('without a shard that has rows nothing of the table is answered', async () => {
    const ctx = instance();
    const dataset = newDataset();
    await sendToAll(ctx, dataset, 0, 30);
    await flush(ctx, dataset);
    const [first = '', second = ''] = (env().CLICKHOUSE_SHARDS ?? '').split(' ');
    const fewer = instance({ CLICKHOUSE_SHARDS: [first, second].join(' ') });
    await expect(query(fewer, dataset)).rejects.toMatchObject({ code: 'unavailable' });
    const none = instance({ CLICKHOUSE_SHARDS: '', CLICKHOUSE_CLUSTER: '' });
    await expect(query(none, dataset)).rejects.toThrow(/does not name/);
  });
});
