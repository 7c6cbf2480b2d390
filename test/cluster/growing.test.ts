import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { changeTable } from '../../src/catalog/change-table.ts';
import { migrate } from '../../src/cli/migrate.ts';
import type { Context } from '../../src/create-context.ts';
import { auditTable } from '../../src/operations/row-audit/audit-table.ts';
import { requireShards } from '../../src/stores/clickhouse/failover.ts';
import { atShard } from '../../src/stores/clickhouse/servers.ts';
import { at, expectStored, flush, newDataset, query, send, sql, tableOf } from '../integration/support.ts';
import { useCluster } from './support.ts';

// The tests follow each other: one server, which becomes a cluster of two, to which a third is added.
const { instance, env, stack, dataDir } = useCluster(false);

const addresses = () => (env().CLICKHOUSE_SHARDS ?? '').split(' ');
const alone = () => ({ CLICKHOUSE_CLUSTER: '', CLICKHOUSE_SHARDS: '', TIMESTORE_LANES_DEFAULT: '1' });
const first = (count: number) => ({
  CLICKHOUSE_SHARDS: addresses().slice(0, count).join(' '),
  TIMESTORE_LANES_DEFAULT: '1',
});
const dataset = newDataset();
let sent = 0;

async function sendMore(ctx: Context, count = 40): Promise<void> {
  for (const until = sent + count; sent < until; sent += 1) {
    await send(ctx, dataset, [{ timestamp: at(sent % 60, 1 + (sent % 3)), id: sent }], `k${sent}`);
  }
}

/** Each row once, whichever way it is asked for. */
async function expectAll(ctx: Context): Promise<void> {
  const { rows } = await query(ctx, dataset, { columns: ['id'], limit: 10_000 });
  expect(rows.map(({ id }) => Number(id)).sort((a, b) => a - b)).toEqual(Array.from({ length: sent }, (_, i) => i));
  const counted = await sql(ctx, 'SELECT count() AS n, uniqExact(id) AS d FROM m', { dataset });
  expect(counted.rows).toEqual([{ n: sent, d: sent }]);
}

/** What a server says of the cluster, from its next start on: so many shards. */
async function configure(nodes: number[], shards: number): Promise<void> {
  for (const node of nodes) {
    const path = join(dataDir, node === 1 ? 'clickhouse' : `clickhouse-${node}`, 'config.xml');
    const text = readFileSync(path, 'utf8');
    wholes[path] ??= text;
    let n = 0;
    // A server is a cluster of its own as well, which stays.
    const some = wholes[path].replace(/<timestore>[\s\S]*?<\/timestore>/, (cluster) =>
      cluster.replace(/\s*<shard>[\s\S]*?<\/shard>/g, (shard) => {
        n += 1;
        return n <= shards ? shard : '';
      }),
    );
    writeFileSync(path, some);
    await stack().nodes[node - 1]?.restart();
  }
}
const wholes: Record<string, string> = {};

test('a server by itself becomes the first shard of a cluster, with its rows and those that wait', async () => {
  await configure([1, 2], 2);
  await migrate({ ...env(), ...alone() });
  const one = instance(alone());
  await sendMore(one);
  await flush(one, dataset);
  await sendMore(one, 10);

  const reordered = { CLICKHOUSE_SHARDS: addresses().slice(0, 2).reverse().join(' ') };
  await expect(migrate({ ...env(), ...reordered })).rejects.toThrow(/must be the first in CLICKHOUSE_SHARDS/);
  // Not before every server knows which shard it is.
  await expect(query(instance(first(2)), dataset)).rejects.toMatchObject({ code: 'unavailable' });
  await migrate({ ...env(), ...first(2) });
  await expectAll(instance(first(2)));

  const table = await changeTable(instance(first(2)), dataset, 'm', { lanes: 'spread' });
  expect(table.shards.slice(0, table.lanes)).toEqual([1, 2]);
  // One that has not heard of it, still with what it knows.
  await sendMore(one, 10);
  await sendMore(instance(first(2)));
  await expectAll(instance(first(2)));
  expect(await flush(instance(first(2)), dataset)).toMatchObject({ complete: true });
  await expectAll(instance(first(2)));
  await expectStored(instance(first(2)), await tableOf(instance(first(2)), dataset), sent);
});

test('a shard more takes rows once it is known everywhere, and nothing is missed in between', async () => {
  await migrate({ ...env(), ...first(3) });
  const early = instance(first(3));
  // The other servers do not know it yet.
  await expectAll(early);
  await sendMore(early, 10);
  const table = await changeTable(early, dataset, 'm', { lanes: 'spread' });
  expect(table.shards.slice(0, table.lanes)).toEqual([1, 2, 3]);
  await sendMore(early);
  // Whichever node an instance would ask first: those that do not know all shards ask none.
  for (let n = 0; n < 8; n += 1) await expectAll(instance(first(3)));
  const { clickhouse } = atShard(early, 1);
  await expect(requireShards(clickhouse, 'timestore', 3)).rejects.toThrow(/add that shard to remote_servers/);
  await configure([1, 2], 3);
  await expectAll(instance(first(3)));
  expect(await flush(instance(first(3)), dataset)).toMatchObject({ complete: true });
  await expectAll(instance(first(3)));
  const audited = await auditTable(instance(first(3)), await tableOf(instance(first(3)), dataset));
  expect(audited).toMatchObject({ ok: true, missing: 0, doubled: 0 });
  await expectStored(instance(first(3)), await tableOf(instance(first(3)), dataset), sent);
});
