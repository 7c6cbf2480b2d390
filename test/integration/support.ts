import { expect, inject } from 'vitest';
import { createTable } from '../../src/catalog/create-table.ts';
import { findTable } from '../../src/catalog/find-table.ts';
import { atAllRows, shardsOf } from '../../src/catalog/lane-location.ts';
import { setUpLanes } from '../../src/catalog/provision-lanes.ts';
import type { Event } from '../../src/core/log.ts';
import { type Context, createContext } from '../../src/create-context.ts';
import { flushTable } from '../../src/flush/flush-table.ts';
import { ingestRows } from '../../src/ingest/ingest.ts';
import type { Answer } from '../../src/query/execution/answer.ts';
import { queryTable } from '../../src/query/execution/query-table.ts';
import type { ReadScope } from '../../src/query/execution/read-scope.ts';
import { queryBody } from '../../src/query/request/parse.ts';
import { querySql, sqlBody } from '../../src/query/sql/run-sql.ts';
import type { Table } from '../../src/schema/table.ts';
import type { Field } from '../../src/schema/types.ts';
import type { ClickHouse } from '../../src/stores/clickhouse/client.ts';
import type { Server } from '../../src/stores/clickhouse/servers.ts';

export type Row = Record<string, unknown> & { timestamp: string };

/**
 * An instance of the functions: its own clients and caches, and its log kept. Its ClickHouse is any node: reads of a table
 * look up the node of the table.
 */
export type Instance = Context & Server & { events: Event[] };

/** Like another isolate of the same deployment. `overrides` are environment values. */
export function newInstance(overrides: Record<string, string> = {}): Instance {
  const events: Event[] = [];
  return { ...createContext({ ...inject('env'), ...overrides }), log: (event) => events.push(event), events };
}

/** An instance whose ClickHouse clients, of every node, are wrapped. */
export function through<C extends Context & Server>(
  instance: C,
  { clickhouse = same, reader = same }: Partial<Record<keyof Server, (client: ClickHouse) => ClickHouse>>,
): C {
  const changed = <S extends Server>(server: S): S => ({
    ...server,
    clickhouse: clickhouse(server.clickhouse),
    reader: reader(server.reader),
  });
  const { cluster } = instance;
  const shards = cluster?.shards.map((shard) => changed({ ...shard, nodes: shard.nodes.map(changed) }));
  return { ...changed(instance), ...(cluster && shards && { cluster: { ...cluster, shards } }) };
}

const same = (client: ClickHouse) => client;

/** Environment values of a deployment with every ClickHouse node at one address. */
export function clickhouseAt(url: string): Record<string, string> {
  const { CLICKHOUSE_SHARDS } = inject('env');
  return {
    CLICKHOUSE_URL: url,
    ...(CLICKHOUSE_SHARDS && { CLICKHOUSE_SHARDS: CLICKHOUSE_SHARDS.replace(/\S+/g, url) }),
  };
}

/** May read all rows of all tables. */
export const everyone: ReadScope = { reads: () => true, rowFilter: null };

let datasets = 0;

/** A name that no other test uses. */
export function newDataset(): string {
  datasets += 1;
  return `t${process.pid}-${process.env.VITEST_WORKER_ID ?? 0}-${Date.now()}-${datasets}`;
}

export const at = (second: number, day = 1): string =>
  `2026-05-${String(day).padStart(2, '0')}T10:00:${String(second).padStart(2, '0')}.000Z`;

/** Sends rows as one request. */
export async function send(ctx: Context, dataset: string, rows: object[], idempotencyKey?: string) {
  const text = rows.map((row) => JSON.stringify(row)).join('\n');
  return await ingestRows(ctx, { dataset, table: 'm', text, format: 'ndjson', idempotencyKey });
}

/** Sends a structured query as a client does. Returns the parsed JSON answer, and its text. */
export async function query(ctx: Context, dataset: string, body: object = {}) {
  const asked = queryBody.parse({ tableName: 'm', ...body });
  const answer = await queryTable(ctx, everyone, dataset, asked, {
    format: 'json',
    signal: new AbortController().signal,
  });
  const text = await textOf(answer);
  return { ...(JSON.parse(text) as JsonAnswer), ...answer.notes, text };
}

/** Sends SQL as a client does; without `reader` as one that may read everything. */
export async function sql(ctx: Context, text: string, body: object = {}, reader: ReadScope = everyone) {
  const asked = sqlBody.parse({ sql: text, ...body });
  const answer = await querySql(ctx, reader, asked, { format: 'json', signal: new AbortController().signal });
  const json = await textOf(answer);
  const parsed = JSON.parse(json) as Omit<JsonAnswer, 'columns'> & { columns: { name: string; type: string }[] };
  return { ...parsed, ...answer.notes, text: json };
}

type JsonAnswer = {
  rows: Row[];
  columns: string[];
  types: string[];
  warnings: string[];
  cursor: string | null;
  sources: { published: { rows: number; partitions: number }; hotBuffer: { rows: number } };
  streaming: Answer['notes']['streaming'];
  statistics: { rows: number; elapsedMs: number; rowsRead: number; tailRows: number };
};

export async function textOf({ body }: Pick<Answer, 'body'>): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(Buffer.from(part as string));
  return Buffer.concat(parts).toString();
}

export async function tableOf(ctx: Context, dataset: string): Promise<Table> {
  const table = await findTable(ctx, dataset, 'm');
  if (table === undefined) throw new Error(`no table m in ${dataset}`);
  return table;
}

export async function flush(ctx: Context, dataset: string) {
  return await flushTable(ctx, await tableOf(ctx, dataset), 'admin', ctx.now() + 60_000);
}

/** Runs a statement on every ClickHouse node of a table, past Timestore. */
export async function onStored(ctx: Context, table: Table, statement: string): Promise<void> {
  for (const { node } of shardsOf(ctx, table)) await node.clickhouse.command(statement);
}

/** The number of rows in ClickHouse, without the buffer. */
export async function storedRows(ctx: Context, table: Table): Promise<number> {
  const { node, nameOf } = atAllRows(ctx, [table]);
  const [found] = await node.clickhouse.rows<{ n: string }>(`SELECT count() AS n FROM ${nameOf(table)}`);
  return Number(found?.n);
}

/** Expects so many rows in ClickHouse, each exactly once. */
export async function expectStored(ctx: Context, table: Table, rows: number): Promise<void> {
  const { node, nameOf } = atAllRows(ctx, [table]);
  const [found] = await node.clickhouse.rows<{ n: string; distinct: string }>(
    `SELECT count() AS n, uniqExact(_lane, _seq, _row) AS distinct FROM ${nameOf(table)}`,
  );
  expect({ rows: Number(found?.n), distinct: Number(found?.distinct) }).toEqual({ rows, distinct: rows });
}

/** A table with the given number of lanes, a timestamp and fields, and no rows. */
export async function newTable(
  ctx: Context,
  lanes = 1,
  more: readonly Field[] = [{ name: 'v', type: 'double' }],
): Promise<Table> {
  const dataset = newDataset();
  const fields: Field[] = [{ name: 'timestamp', type: 'timestamp' }, ...more];
  const table = await createTable(ctx, {
    dataset,
    name: 'm',
    window: 'day',
    lanes,
    schema: { version: 1, timestampColumn: 'timestamp', keyFields: [], fields },
  });
  await setUpLanes(ctx, table);
  return table;
}
