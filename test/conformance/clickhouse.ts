import { dropStored } from '../../src/catalog/drop-table.ts';
import { atLane } from '../../src/catalog/lane-location.ts';
import { objectFunction, writeObject } from '../../src/catalog/object-table.ts';
import {
  addColumnsAt,
  applyRetentionAt,
  makeTable,
  rememberedTokens,
  requireTypes,
} from '../../src/catalog/table-ddl.ts';
import { databaseName, qualifiedName } from '../../src/core/identifiers.ts';
import { flushTable } from '../../src/flush/flush-table.ts';
import { ingestRows } from '../../src/ingest/ingest.ts';
import { queryTable } from '../../src/query/execution/query-table.ts';
import { queryBody } from '../../src/query/request/parse.ts';
import { querySql, sqlBody } from '../../src/query/sql/run-sql.ts';
import { describeServer, everyReplica } from '../../src/stores/clickhouse/kind.ts';
import { everyNode } from '../../src/stores/clickhouse/servers.ts';
import { findMissingLimits } from '../../src/stores/clickhouse/users.ts';
import { must, mustRefuse, type Probe, type Run } from './probe.ts';

const oldest = [26, 3] as const;
const grants = 'Make the users again with sql/clickhouse/users.sql, which has every grant and limit.';
const read = ['processes', 'parts', 'mutations', 'disks', 'storage_policies'] as const;
const everyone = { reads: () => true, rowFilter: null };
const asked = () => ({ format: 'json' as const, signal: AbortSignal.timeout(60_000) });

async function rowsOf({ body }: { body: AsyncIterable<Uint8Array | string> }): Promise<Record<string, unknown>[]> {
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(Buffer.from(part as string));
  return (JSON.parse(Buffer.concat(parts).toString()) as { rows: Record<string, unknown>[] }).rows;
}

const ask = async ({ ctx, table }: Run, body: object) =>
  await rowsOf(
    await queryTable(ctx, everyone, table.dataset, queryBody.parse({ tableName: table.name, ...body }), asked()),
  );

async function send({ ctx, table }: Run, values: number[]): Promise<void> {
  const text = values.map((v) => `{"timestamp":"2026-05-01T10:00:0${v}Z","v":${v},"s":"row ${v}"}`).join('\n');
  await ingestRows(ctx, {
    dataset: table.dataset,
    table: table.name,
    text,
    format: 'ndjson',
    idempotencyKey: undefined,
  });
}

export const clickhouseProbes: Probe[] = [
  {
    store: 'clickhouse',
    what: 'answers the writer and the reader, and is new enough',
    fix: 'Check CLICKHOUSE_URL and the users; the server must be 26.3 or newer.',
    async run({ ctx }) {
      const said = await Promise.all(everyNode(ctx).map(({ clickhouse }) => describeServer(clickhouse)));
      await Promise.all(everyNode(ctx).map(({ reader }) => reader.rows('SELECT 1')));
      const old = said.find(({ version }) => {
        const [major = 0, minor = 0] = version.split('.').map(Number);
        return major < oldest[0] || (major === oldest[0] && minor < oldest[1]);
      });
      must(old === undefined, `version ${old?.version}`);
      return said.map(({ version, kind }) => `${kind} ${version}`).join(', ');
    },
  },
  {
    store: 'clickhouse',
    what: 'is migrated',
    fix: 'Run npm run migrate with the same variables.',
    async run({ ctx }) {
      for (const { clickhouse, reader } of everyNode(ctx)) {
        await clickhouse.rows('SELECT 1 FROM timestore.skipped_rows LIMIT 1');
        await reader.rows('SELECT 1 FROM timestore.ingest_watermarks LIMIT 1');
      }
      return undefined;
    },
  },
  ...read.map(
    (table): Probe => ({
      store: 'clickhouse',
      what: `lets the writer read system.${table}`,
      fix: grants,
      async run({ ctx }) {
        const from = everyReplica(await ctx.clickhouseKind(), `system.${table}`);
        for (const { clickhouse } of everyNode(ctx)) await clickhouse.rows(`SELECT 1 FROM ${from} LIMIT 1`);
        return undefined;
      },
    }),
  ),
  {
    store: 'clickhouse',
    what: 'makes a database and a table, adds columns, changes retention',
    fix: grants,
    async run({ ctx, table }) {
      await makeTable(ctx, table, table.shards);
      const at = await atLane(ctx, table, 0);
      const wider = {
        ...table,
        schema: { ...table.schema, fields: [...table.schema.fields, { name: 'w', type: 'json' as const }] },
      };
      await addColumnsAt(at, wider);
      await requireTypes(at, wider);
      for (const retention of [{ totalDays: 36_500 }, undefined]) await applyRetentionAt(at, { ...table, retention });
      return undefined;
    },
  },
  {
    store: 'clickhouse',
    what: 'remembers the tokens of inserts as long as a flush may sleep',
    fix: 'Tables that were made by an earlier version or by hand get the settings at the hourly comparison; a server that refuses them cannot be used.',
    async run({ ctx, table }) {
      const at = await atLane(ctx, table, 0);
      const [found] = await at.clickhouse.rows<{ engine: string }>(
        'SELECT engine_full AS engine FROM system.tables WHERE database = {d:String} AND name = {t:String}',
        { d: `ts_${table.dataset}`, t: table.physical },
      );
      const lacking = rememberedTokens(at, await ctx.clickhouseKind()).filter(
        (each) => !`${found?.engine},`.includes(`${each},`),
      );
      must(lacking.length === 0, `the table lacks ${lacking.join(', ')}`);
      return rememberedTokens(at, await ctx.clickhouseKind()).join(', ');
    },
  },
  {
    store: 'clickhouse',
    what: 'stores an insert with one token once, and a read right after it has it',
    fix: 'Inserts are exactly once only with deduplication: look for a profile that sets insert_deduplicate or async_insert. On Cloud set CLICKHOUSE_KIND=cloud.',
    async run({ ctx, table }) {
      const at = await atLane(ctx, table, 0);
      const body = `INSERT INTO ${qualifiedName(table)} (_lane, _seq, _row, _received_at, timestamp, v)
        SELECT 7, 1, number, now64(3), toDateTime64('2026-05-01 10:00:00', 9, 'UTC') + number * 86400, 1 FROM numbers(3)`;
      const settings = {
        async_insert: 0,
        insert_deduplicate: 1,
        deduplicate_insert_select: 'force_enable',
        insert_deduplication_token: 'probe',
      };
      for (let time = 1; time <= 3; time += 1) {
        await at.clickhouse.send({ settings, body, timeout_ms: 30_000 });
        const [found] = await at.clickhouse.rows<{ n: string }>(
          `SELECT count() AS n FROM ${qualifiedName(table)} WHERE _lane = 7`,
        );
        must(found?.n === '3', `after sending 3 rows ${time} times there are ${found?.n}`);
      }
      return undefined;
    },
  },
  {
    store: 'clickhouse',
    what: 'deletes rows, and says when it is done',
    fix: grants,
    async run({ ctx, table }) {
      const at = await atLane(ctx, table, 0);
      await at.clickhouse.command(
        `ALTER TABLE ${qualifiedName(table)} DELETE WHERE _lane = 7 SETTINGS mutations_sync = 2`,
      );
      const [found] = await at.clickhouse.rows<{ n: string }>(`SELECT count() AS n FROM ${qualifiedName(table)}`);
      must(found?.n === '0', `${found?.n} rows are left`);
      return undefined;
    },
  },
  {
    store: 'clickhouse',
    what: 'answers rows that wait in the hot buffer, before and after their flush',
    fix: 'This is ingest, query, SQL and flush as the product does them: see the words, and the lines above.',
    async run(run) {
      const { ctx, table } = run;
      await send(run, [1, 2, 3]);
      must((await ask(run, {})).length === 3, 'a query does not have the rows that wait');
      const flushed = await flushTable(ctx, table, 'admin', Date.now() + 60_000);
      must(flushed.complete && flushed.rows === 3, `${flushed.rows} of 3 rows were flushed`);
      await send(run, [4]);
      must(
        (await ask(run, { columns: ['v'], orderBy: [{ column: 'v', direction: 'desc' }] }))[0]?.v === 4,
        'a query has an older cut',
      );
      const day = {
        intervalUnit: 'day',
        intervalSize: 1,
        aggregations: [{ function: 'sum', column: 'v', as: 'total' }],
      };
      must((await ask(run, { downsample: day }))[0]?.total === 10, 'a downsampled query adds up to something else');
      const sql = sqlBody.parse({ sql: `SELECT count() AS n, max(v) AS v FROM ${table.name}`, dataset: table.dataset });
      const [row] = await rowsOf(await querySql(ctx, everyone, sql, asked()));
      must(row?.n === 4 && row.v === 4, `SQL answers ${JSON.stringify(row)}`);
      return undefined;
    },
  },
  {
    store: 'clickhouse',
    what: 'limits the reader',
    fix: grants,
    async run({ ctx }) {
      const lacking = (await Promise.all(everyNode(ctx).map(({ reader }) => findMissingLimits(reader)))).flat();
      must(lacking.length === 0, lacking.slice(0, 3).join('; '));
      return undefined;
    },
  },
  {
    store: 'clickhouse',
    what: 'refuses the reader what it must not do',
    fix: grants,
    async run({ ctx, table }) {
      const { reader } = await atLane(ctx, table, 0);
      const name = qualifiedName(table);
      await mustRefuse('an INSERT', reader.command(`INSERT INTO ${name} (_lane) VALUES (9)`));
      await mustRefuse('a DELETE', reader.command(`ALTER TABLE ${name} DELETE WHERE 1`));
      await mustRefuse('a new table', reader.command(`CREATE TABLE ${name}_x (a Int8) ENGINE = Memory`));
      await mustRefuse('a query without a limit', reader.rows('SELECT 1 SETTINGS max_execution_time = 0'));
      await mustRefuse('url()', reader.rows(`SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')`));
      await mustRefuse('a table of the product', reader.rows('SELECT 1 FROM timestore.skipped_rows'));
      return undefined;
    },
  },
  {
    store: 'clickhouse',
    what: 'writes Parquet into the bucket and reads it back',
    fix: 'S3_ENDPOINT must be reachable for ClickHouse too, and the writer needs READ, WRITE ON S3. Backups, exports and imports need it.',
    async run({ ctx, table, id }) {
      const at = await atLane(ctx, table, 0);
      const key = `conformance/${id}.parquet`;
      const columns = { param__columns: '_seq UInt64, v Nullable(Float64)' };
      const object = objectFunction(ctx, key, 'Parquet');
      await writeObject(at, object, `SELECT _seq, v FROM ${qualifiedName(table)}`, columns);
      const text = await at.clickhouse.send({
        settings: columns,
        body: `SELECT count() FROM ${object} FORMAT TSV`,
        timeout_ms: 60_000,
      });
      await ctx.objects.remove(key);
      must(text.trim() === '3', `${text.trim()} of 3 rows come back`);
      return undefined;
    },
  },
];

/** Removes what probes have made at ClickHouse. */
export async function cleanClickHouse({ ctx, table }: Run): Promise<void> {
  await dropStored(ctx, table);
  for (const { clickhouse } of everyNode(ctx)) {
    await clickhouse.command(`DROP DATABASE IF EXISTS ${databaseName(table.dataset)} SYNC`);
    for (const own of ['ingest_watermarks', 'stored_batches']) {
      await clickhouse.command(`ALTER TABLE timestore.${own} DELETE WHERE dataset = {d:String}`, { d: table.dataset });
    }
  }
}
