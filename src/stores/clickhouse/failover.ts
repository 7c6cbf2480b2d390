import * as z from 'zod';
import { StoreError } from '../../core/errors.ts';
import { type ClickHouse, ClickHouseError, clickhouseCodes } from './client.ts';

const numberRow = z.object({ number: z.number() });
const shardsRow = z.object({ shards: z.string() });

/** One that is gone answers at once, or not at all: who has waited for so long does not wait for another one as well. */
const quick_ms = 2_000;

/** What a replica says that cannot do now what another one may. */
const elsewhere = new Set<number>([
  clickhouseCodes.tableIsReadOnly,
  clickhouseCodes.tooFewLiveReplicas,
  clickhouseCodes.replicaIsNotInQuorum,
  clickhouseCodes.keeperException,
]);

/**
 * Servers that hold the same, as one. The one that answered last is asked, and another one where it does not: whatever is
 * sent may come twice, as it may with one server.
 */
export function failOver(nodes: readonly ClickHouse[]): ClickHouse {
  const [only] = nodes;
  if (only !== undefined && nodes.length === 1) return only;
  // Not the same one for every instance.
  let current = Math.floor(Math.random() * nodes.length);
  async function ask<T>(call: (node: ClickHouse) => Promise<T>): Promise<T> {
    const from_ms = performance.now();
    for (let tried = 1; ; tried += 1) {
      const at = current;
      const node = nodes[at];
      if (node === undefined) throw new RangeError('there is a node');
      try {
        return await call(node);
      } catch (error) {
        if (!mayBeElsewhere(error)) throw error;
        // Another request may have gone on already.
        if (current === at) current = (at + 1) % nodes.length;
        if (tried === nodes.length || performance.now() - from_ms > quick_ms) throw error;
      }
    }
  }
  return {
    open: (request) => ask((node) => node.open(request)),
    send: (request) => ask((node) => node.send(request)),
    command: (sql, params) => ask((node) => node.command(sql, params)),
    rows: <Row>(...args: Parameters<ClickHouse['rows']>) => ask((node) => node.rows<Row>(...args)),
  };
}

function mayBeElsewhere(error: unknown): boolean {
  return error instanceof StoreError || (error instanceof ClickHouseError && elsewhere.has(error.code));
}

/**
 * Finds something out until it is certain, which it then is for ever.
 *
 * @param find throws where it is not so
 */
export function onceAssured(find: () => Promise<void>): () => Promise<void> {
  // Each request finds it out for itself until one has: a Worker's requests cannot wait for each other's answers.
  let isSure = false;
  return async () => {
    if (isSure) return;
    await find();
    isSure = true;
  };
}

/** A node that answers after something else has been done. */
export function assuredNode(node: ClickHouse, first: () => Promise<void>): ClickHouse {
  return {
    open: async (request) => await first().then(() => node.open(request)),
    send: async (request) => await first().then(() => node.send(request)),
    command: async (sql, params) => await first().then(() => node.command(sql, params)),
    rows: async <Row>(...args: Parameters<ClickHouse['rows']>) => await first().then(() => node.rows<Row>(...args)),
  };
}

/**
 * Throws where a node is another shard than it is taken for. Rows of a lane are on one shard for ever: with the addresses in
 * another order a flush would look for them where they are not, and store them again.
 */
export async function requireNumber(node: ClickHouse, number: number): Promise<void> {
  const [found] = await node.rows('SELECT max(number) AS number FROM timestore.shard').catch((error) => {
    const { unknownTable, unknownDatabase } = clickhouseCodes;
    if (error instanceof ClickHouseError && [unknownTable, unknownDatabase].some((code) => code === error.code)) {
      return [{ number: 0 }];
    }
    throw error;
  });
  const { number: actual } = numberRow.parse(found);
  if (actual === number) return;
  const is = actual === 0 ? 'no shard yet' : `shard ${actual}`;
  throw new StoreError(
    'clickhouse',
    `has a node that is ${is}, where CLICKHOUSE_SHARDS has it as shard ${number}: put its addresses in order and migrate`,
    undefined,
  );
}

/** Throws where a node does not ask all shards up to a number: rows of those that it does not know would be in no answer. */
export async function requireShards(node: ClickHouse, cluster: string, highest: number): Promise<void> {
  const [found] = await node.rows(
    'SELECT uniqExact(shard_num) AS shards FROM system.clusters WHERE cluster = {cluster:String}',
    { cluster },
  );
  const { shards } = shardsRow.parse(found);
  if (Number(shards) >= highest) return;
  throw new StoreError(
    'clickhouse',
    `has a node whose cluster ${cluster} is of ${shards} shards, where rows are on shard ${highest}: add it to remote_servers`,
    undefined,
  );
}
