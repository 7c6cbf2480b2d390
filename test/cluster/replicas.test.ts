import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ensureTable } from '../../src/catalog/ensure-table.ts';
import { engineIn } from '../../src/cli/migrate.ts';
import { splitStatements } from '../../src/cli/split-statements.ts';
import { ensureStaging, newStaging } from '../../src/operations/import/staging.ts';
import { at, expectStored, flush, newDataset, query, send, tableOf, through } from '../integration/support.ts';
import { useCluster } from './support.ts';

const { instance, env } = useCluster();
const nowhere = 'http://127.0.0.1:1';

/** Each shard has a replica that is dead, beside the node that there is. */
const withDeadReplicas = () => {
  const shards = (env().CLICKHOUSE_SHARDS ?? '').split(' ');
  return {
    CLICKHOUSE_SHARDS: shards.map((url, i) => (i % 2 === 0 ? `${nowhere},${url}` : `${url},${nowhere}`)).join(' '),
  };
};

test('a replica that does not answer is left out for another of its shard, for writes, reads and their settings', async () => {
  const dataset = newDataset();
  await send(instance(), dataset, [{ timestamp: at(0), id: 0 }]);
  for (let id = 1; id < 40; id += 1) {
    await send(instance(withDeadReplicas()), dataset, [{ timestamp: at(id), id }], `k${id}`);
  }
  expect((await query(instance(withDeadReplicas()), dataset)).rows).toHaveLength(40);
  expect(await flush(instance(withDeadReplicas()), dataset)).toMatchObject({ complete: true });
  await expectStored(instance(), await tableOf(instance(), dataset), 40);
  const { rows, streaming } = await query(instance(withDeadReplicas()), dataset);
  expect(rows).toHaveLength(40);
  expect(streaming.rows).toBe(0);
});

test('a shard without an answering replica is unavailable', async () => {
  const dataset = newDataset();
  await send(instance(), dataset, [{ timestamp: at(0), id: 0 }]);
  const [first, ...others] = (env().CLICKHOUSE_SHARDS ?? '').split(' ').map(() => `${nowhere},${nowhere}`);
  const away = instance({ CLICKHOUSE_SHARDS: [first, ...others].join(' ') });
  await expect(flush(away, dataset)).rejects.toMatchObject({ code: 'unavailable', store: 'clickhouse' });
});

test('tables of a cluster with replicas are replicated, each in a place of its own, in words that a server understands', async () => {
  const ctx = instance();
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(0), id: 0 }]);
  const table = { ...(await tableOf(ctx, dataset)), physical: 'm.7' };
  const statements: string[] = [];
  const asking = through(instance(withDeadReplicas()), {
    clickhouse: (client) => ({ ...client, command: async (sql) => void statements.push(sql) }),
  });
  await ensureTable(asking, table);
  await ensureStaging({ ...asking, shard: 2 }, table, newStaging({ ...asking, shard: 2 }, 'job'));
  const folder = join(import.meta.dirname, '..', '..', 'sql', 'clickhouse');
  for (const name of readdirSync(folder).filter((each) => /^\d/.test(each))) {
    for (const statement of splitStatements(readFileSync(join(folder, name), 'utf8'))) {
      statements.push(engineIn(statement, { isReplicated: true, shard: 3 }));
    }
  }
  const tables = statements.filter((sql) => /CREATE TABLE/.test(sql) && !/Distributed/.test(sql));
  const engines = tables.map(
    (sql) => /ENGINE = (Replicated\w*MergeTree\('[^']*', '\{replica\}'(?:, \w+)?\))/.exec(sql)?.[1],
  );
  expect(engines).not.toContain(undefined);
  expect(new Set(engines)).toEqual(
    new Set([
      ...[1, 2, 3].map((shard) => `ReplicatedMergeTree('/timestore/${shard}/ts_${dataset}.m.7', '{replica}')`),
      expect.stringMatching(/^ReplicatedMergeTree\('\/timestore\/2\/timestore\.import job \w+@2', '\{replica\}'\)$/),
      "ReplicatedReplacingMergeTree('/timestore/3/timestore.ingest_watermarks', '{replica}', watermark)",
      "ReplicatedMergeTree('/timestore/3/timestore.skipped_rows', '{replica}')",
      "ReplicatedMergeTree('/timestore/3/timestore.stored_batches', '{replica}')",
      "ReplicatedMergeTree('/timestore/3/timestore.shard', '{replica}')",
    ]),
  );
  for (const sql of new Set(statements)) await ctx.clickhouse.command(`EXPLAIN AST ${sql}`);
  const named = tables.flatMap((sql) => [...sql.matchAll(/^\s+(\w+) = /gm)].map((match) => match[1] ?? ''));
  const known = await ctx.clickhouse.rows<{ name: string }>('SELECT name FROM system.merge_tree_settings');
  expect(named).toContain('replicated_deduplication_window_seconds');
  expect(named.filter((name) => !known.some((each) => each.name === name))).toEqual([]);
});

test('a table with replicas is not made where nothing keeps them in step', async () => {
  const dataset = newDataset();
  const sending = send(instance(withDeadReplicas()), dataset, [{ timestamp: at(0), id: 0 }]);
  // Nothing of a replica is configured here. What is not refused would be a table whose rows one server has.
  await expect(sending).rejects.toThrow("No macro 'replica'");
});
