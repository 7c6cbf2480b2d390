import * as z from 'zod';
import { assertDefined } from '../../core/assert.ts';
import { StoreError } from '../../core/errors.ts';
import { type ClickHouse, ClickHouseError, clickhouseCodes } from './client.ts';

const numberRow = z.object({ number: z.number() });
const shardsRow = z.object({ shards: z.string() });

/** A request that has waited this long for one server does not try another one. */
const failover_ms_max = 2_000;

/** Error codes of a replica that another replica may not have. */
const elsewhere = new Set<number>([
  clickhouseCodes.tableIsReadOnly,
  clickhouseCodes.tooFewLiveReplicas,
  clickhouseCodes.replicaIsNotInQuorum,
  clickhouseCodes.keeperException,
]);

/**
 * Combines servers with the same rows into one client. It uses the server that answered last, and tries the others if that one
 * fails. A statement may run twice, as with one server.
 */
export function failOver(nodes: readonly ClickHouse[]): ClickHouse {
  const [only] = nodes;
  if (only !== undefined && nodes.length === 1) return only;
  // Spreads instances over the servers.
  let current = Math.floor(Math.random() * nodes.length);
  async function callWithFailover<T>(call: (node: ClickHouse) => Promise<T>): Promise<T> {
    const from_ms = performance.now();
    for (let tried = 1; ; tried += 1) {
      const index = current;
      const node = assertDefined(nodes[index], 'a cluster has at least one node');
      try {
        return await call(node);
      } catch (error) {
        if (!mayWorkElsewhere(error)) throw error;
        // A concurrent request may have switched already.
        if (current === index) current = (index + 1) % nodes.length;
        if (tried === nodes.length || performance.now() - from_ms > failover_ms_max) throw error;
      }
    }
  }
  return {
    open: (request) => callWithFailover((node) => node.open(request)),
    send: (request) => callWithFailover((node) => node.send(request)),
    command: (sql, params) => callWithFailover((node) => node.command(sql, params)),
    rows: <Row>(...args: Parameters<ClickHouse['rows']>) => callWithFailover((node) => node.rows<Row>(...args)),
  };
}

function mayWorkElsewhere(error: unknown): boolean {
  return error instanceof StoreError || (error instanceof ClickHouseError && elsewhere.has(error.code));
}

/**
 * Repeats a check until it succeeds once.
 *
 * @param find throws if the check fails
 */
export function checkOnce(find: () => Promise<void>): () => Promise<void> {
  // Concurrent requests check independently, because a request in Workers cannot await a promise of another request.
  let isSure = false;
  return async () => {
    if (isSure) return;
    await find();
    isSure = true;
  };
}

/** A client that runs a check before each statement. */
export function withCheck(node: ClickHouse, first: () => Promise<void>): ClickHouse {
  return {
    open: async (request) => await first().then(() => node.open(request)),
    send: async (request) => await first().then(() => node.send(request)),
    command: async (sql, params) => await first().then(() => node.command(sql, params)),
    rows: async <Row>(...args: Parameters<ClickHouse['rows']>) => await first().then(() => node.rows<Row>(...args)),
  };
}

/**
 * Throws if a node does not belong to the expected shard. The rows of a lane stay on one shard: with addresses in another order
 * a flush would not find them and store them again.
 */
export async function requireShardNumber(node: ClickHouse, number: number): Promise<void> {
  const [found] = await node.rows('SELECT max(number) AS number FROM timestore.shard').catch((error) => {
    const { unknownTable, unknownDatabase } = clickhouseCodes;
    if (error instanceof ClickHouseError && [unknownTable, unknownDatabase].some((code) => code === error.code)) {
      return [{ number: 0 }];
    }
    throw error;
  });
  const { number: actual } = numberRow.parse(found);
  if (actual === number) return;
  const described = actual === 0 ? 'no shard yet' : `shard ${actual}`;
  throw new StoreError(
    'clickhouse',
    `has a node that is ${described}, but CLICKHOUSE_SHARDS lists it as shard ${number}: correct the order of the addresses and migrate`,
    undefined,
  );
}

/** Throws if a node does not know all shards up to a number: its results would lack the rows of the others. */
export async function requireShards(node: ClickHouse, cluster: string, highest: number): Promise<void> {
  const [found] = await node.rows(
    'SELECT uniqExact(shard_num) AS shards FROM system.clusters WHERE cluster = {cluster:String}',
    { cluster },
  );
  const { shards } = shardsRow.parse(found);
  if (Number(shards) >= highest) return;
  throw new StoreError(
    'clickhouse',
    `has a node whose cluster ${cluster} has ${shards} shards, but rows are on shard ${highest}: add that shard to remote_servers`,
    undefined,
  );
}
