import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { quoteName } from '../../../src/core/identifiers.ts';
import { clickhouseType } from '../../../src/schema/types.ts';
import { useWorker } from '../http/worker.ts';
import { newDataset, newInstance } from '../support.ts';
import { hitsTables } from './sets/hits.ts';
import type { SetTable } from './sets/random.ts';
import { ssbTables } from './sets/ssb.ts';
import { tpchTables } from './sets/tpch.ts';

/**
 * The queries of ClickBench, TPC-H and the Star Schema Benchmark, in words of our own, over rows that are made here. Each is
 * answered as ClickHouse answers it over a second copy of the rows, which Timestore has never seen.
 */
// What is slow here shall not make an answer without hot rows.
const prefix = {
  TIMESTORE_KEY_PREFIX: `sets-${process.pid}`,
  TIMESTORE_REDIS_TIMEOUT_MS: '30000',
  TIMESTORE_QUERY_WAIT_MS: '10000',
};
const call = useWorker(prefix);
const ctx = newInstance(prefix);

type Statement = { title: string; sql: string };

/** Statements that end with a semicolon, each after a comment that says what it asks. */
function statementsOf(files: string[]): Statement[] {
  const texts = files.map((file) => readFileSync(join(import.meta.dirname, 'sets', `${file}.sql`), 'utf8'));
  return texts
    .join('')
    .split(/;\n/)
    .flatMap((part) => {
      const [, title, sql] = /^-- (.*)\n([\s\S]+)$/.exec(part.trim()) ?? [];
      return title === undefined || sql === undefined ? [] : [{ title, sql }];
    });
}

async function posted(path: string, init: Parameters<typeof call>[1]): Promise<string> {
  const answer = await call(path, { method: 'POST', ...init });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
  return text;
}

const lines = (rows: object[]) => rows.map((row) => JSON.stringify(row)).join('\n');

async function makeTable(dataset: string, { name, timestampColumn, keyFields, fields }: SetTable): Promise<void> {
  const json = {
    name,
    timestampColumn,
    keyFields,
    partition: 'month',
    fields: fields.filter((field) => field.name !== timestampColumn),
  };
  await posted(`/v1/admin/datasets/${dataset}/tables`, { json });
}

async function sendRows(dataset: string, { name, rows }: SetTable, half: 0 | 1): Promise<void> {
  const body = lines(rows.filter((_, i) => i % 2 === half));
  const headers = { 'content-type': 'application/x-ndjson' };
  await posted(`/v1/datasets/${dataset}/tables/${name}/rows`, { body, headers });
}

/** A table of the same columns with the same rows, made with ClickHouse's own means. */
async function copyTable(database: string, table: SetTable): Promise<void> {
  const { name, timestampColumn, keyFields } = table;
  const fields = table.fields.filter((field) => field.name !== timestampColumn);
  const schema = { timestampColumn, timestampPrecision: 9, keyFields } as const;
  const columns = [{ name: timestampColumn, type: 'timestamp' } as const, ...fields].map((field) => {
    return `${quoteName(field.name)} ${clickhouseType(field, schema)}`;
  });
  const copy = `${quoteName(database)}.${quoteName(name)}`;
  await ctx.clickhouse.command(
    `CREATE TABLE ${copy} (${columns.join()}) ENGINE = MergeTree ORDER BY ${quoteName(timestampColumn)}`,
  );
  const insert = `INSERT INTO ${copy} FORMAT JSONEachRow\n${lines(table.rows)}`;
  await ctx.clickhouse.send({ settings: { date_time_input_format: 'best_effort' }, body: insert, timeout_ms: 60_000 });
}

type Column = { name: string; type: string };
type Answered = { columns: Column[]; rows: Record<string, unknown>[] };
type Asked = Answered & { statistics: { tailRows: string } };

/** JSON with each number as it is written, and times without zeros at their end. */
function read(text: string): unknown {
  const reviver = (_: string, value: unknown, { source }: { source?: string }) => {
    if (typeof value === 'number') return source;
    if (typeof value !== 'string') return value;
    return value.replace(/^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d*?)0*)?Z$/, (_all, whole, fraction = '') => {
      return fraction === '' ? `${whole}Z` : `${whole}.${fraction}Z`;
    });
  };
  return JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
}

async function asked(sql: string, dataset: string): Promise<Asked> {
  return read(await posted('/v1/sql', { json: { sql, dataset, consistency: 'strict' } })) as Asked;
}

async function askedDirectly(sql: string, database: string): Promise<Answered> {
  const settings = {
    database,
    output_format_json_quote_64bit_integers: 0,
    output_format_json_quote_decimals: 1,
    date_time_output_format: 'iso',
  };
  const answer = await ctx.clickhouse.send({ settings, body: `${sql}\nFORMAT JSON`, timeout_ms: 60_000 });
  const { meta, data } = read(answer) as { meta: Column[]; data: Answered['rows'] };
  return { columns: meta, rows: data };
}

/** Sums of doubles come in any order of adding: those of one answer, where they are as good as those of the other. */
function withNear(answer: Answered, wanted: Answered): Answered {
  const doubles = wanted.columns.filter(({ type }) => type.includes('Float')).map(({ name }) => name);
  const rows = answer.rows.map((row, i) => {
    const near = doubles.flatMap((name) => {
      const [is, should] = [Number(row[name]), Number(wanted.rows[i]?.[name])];
      return Math.abs(is - should) <= 1e-9 * Math.abs(should) ? [[name, wanted.rows[i]?.[name]]] : [];
    });
    return { ...row, ...Object.fromEntries(near) };
  });
  return { ...answer, rows };
}

/** Rows that no ORDER BY puts in order, in one. */
function inOrder(sql: string, { columns, rows }: Answered): Answered {
  if (/\bORDER BY\b/.test(sql)) return { columns, rows };
  return { columns, rows: rows.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) };
}

const anyOfThem = /\s+LIMIT (\d+)$/;

const sets: [name: string, files: string[], count: number, tables: () => SetTable[]][] = [
  ['ClickBench', ['clickbench'], 43, () => hitsTables(3_000)],
  ['TPC-H', ['tpch'], 25, tpchTables],
  ['the Star Schema Benchmark', ['ssb-flat', 'ssb-joined'], 26, () => ssbTables(3_000)],
];

describe.each(sets)(
  '%s: the same as ClickHouse, with half of the rows hot and with all flushed',
  (_, files, count, make) => {
    const statements = statementsOf(files);
    const dataset = newDataset();
    const copy = `ts_${dataset}-copy`;
    const answers = new Map<string, { hot: Asked | Error; flushed: Asked | Error }>();
    const named = (sql: string, database: string) => sql.replaceAll('{db}', quoteName(database));

    const askAll = async () => {
      const found: (Asked | Error)[] = [];
      // Some at a time: most of each is waiting.
      for (let i = 0; i < statements.length; i += 6) {
        const some = statements.slice(i, i + 6);
        const ask = ({ sql }: Statement) => asked(named(sql, dataset), dataset).catch((error) => error);
        found.push(...(await Promise.all(some.map(ask))));
      }
      return found;
    };

    beforeAll(async () => {
      const tables = make();
      await ctx.clickhouse.command(`CREATE DATABASE ${quoteName(copy)}`);
      for (const table of tables) {
        await copyTable(copy, table);
        await makeTable(dataset, table);
        await sendRows(dataset, table, 0);
      }
      const flushAll = async () => {
        for (const { name } of tables) await posted('/v1/admin/flush', { json: { dataset, table: name } });
      };
      await flushAll();
      for (const table of tables) await sendRows(dataset, table, 1);
      const hot = await askAll();
      await flushAll();
      const flushed = await askAll();
      for (const [i, { title }] of statements.entries()) {
        answers.set(title, { hot: hot[i] as Asked, flushed: flushed[i] as Asked });
      }
    });

    test('all of them', () => expect(statements.length).toBe(count));

    test.each(statements)('$title', async ({ title, sql }) => {
      const isAnyOfThem = anyOfThem.test(sql) && !/\bORDER BY\b/.test(sql);
      const direct = await askedDirectly(named(isAnyOfThem ? sql.replace(anyOfThem, '') : sql, copy), copy);
      const wanted = inOrder(sql, direct);
      // A query whose answer is empty would say nothing.
      expect(wanted.rows.length).toBeGreaterThan(0);
      for (const row of wanted.rows) expect(Object.values(row)).not.toEqual(Object.values(row).map(() => null));
      for (const [where, answer] of Object.entries(answers.get(title) ?? {})) {
        if (answer instanceof Error) throw new Error(`${where}: ${answer.message}`);
        expect({ where, isHot: answer.statistics.tailRows !== '0' }).toEqual({ where, isHot: where === 'hot' });
        if (!isAnyOfThem) {
          const found = withNear(inOrder(sql, answer), wanted);
          expect({ where, ...found }).toEqual({ where, ...wanted });
          continue;
        }
        expect({ where, rows: answer.rows.length }).toEqual({ where, rows: Number(anyOfThem.exec(sql)?.[1]) });
        expect(wanted.rows).toEqual(expect.arrayContaining(answer.rows));
      }
    });
  },
);
