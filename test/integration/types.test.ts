import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cutParquet } from '../../src/cli/ingest/parquet.ts';
import { ingestRows } from '../../src/ingest/ingest.ts';
import { scheduleExport } from '../../src/operations/export/export.ts';
import { readExport } from '../../src/operations/export/published.ts';
import { scheduleImport } from '../../src/operations/import/request.ts';
import { queryTable } from '../../src/query/execution/query-table.ts';
import { type Format, formats } from '../../src/query/request/format.ts';
import { queryBody } from '../../src/query/request/parse.ts';
import { querySql, sqlBody } from '../../src/query/sql/run-sql.ts';
import type { RowFormat } from '../../src/schema/prepare.ts';
import type { Table } from '../../src/schema/table.ts';
import { clickhouseType } from '../../src/schema/types.ts';
import { workUntilOver } from './jobs/support.ts';
import { clickhouseAt, everyone, flush, newInstance, newTable } from './support.ts';
import { all, answeredFields, expected, fields, timeOf } from './type-values.ts';

const prefix = { TIMESTORE_KEY_PREFIX: `types-${process.pid}` };
const ctx = newInstance(prefix);
/** An instance without ClickHouse. */
const alone = newInstance({ ...prefix, ...clickhouseAt('http://127.0.0.1:1') });

async function sendText({ dataset, name }: Table, text: string, format: RowFormat): Promise<void> {
  await ingestRows(ctx, { dataset, table: name, text, format, idempotencyKey: undefined });
}

async function bytesOf(body: AsyncGenerator<Uint8Array | string>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(Buffer.from(part as string));
  return Buffer.concat(parts);
}

const signal = new AbortController().signal;

async function structured({ dataset }: Table, format: Format, body: object = {}, own = ctx): Promise<Buffer> {
  const asked = queryBody.parse({ tableName: 'm', timeRange: { start: timeOf(0) }, ...body });
  return await bytesOf((await queryTable(own, everyone, dataset, asked, { format, signal })).body);
}

async function inSql({ dataset }: Table, format: Format, sql = 'SELECT * FROM m ORDER BY timestamp'): Promise<Buffer> {
  return await bytesOf((await querySql(ctx, everyone, sqlBody.parse({ sql, dataset }), { format, signal })).body);
}

const rowsIn = (json: Buffer) => /"rows":\[(.*)\],"(?:warnings|statistics)"/s.exec(json.toString())?.[1] ?? '';

/** What a file of columns holds, as lines of JSON. */
async function linesIn(bytes: Buffer, format: 'parquet' | 'arrow', { schema }: Table): Promise<string> {
  const columns = schema.fields.map((field) => `${field.name} ${clickhouseType(field, schema)}`).join(', ');
  const file = `format(${formats[format].clickhouse}, '${columns.replaceAll("'", "\\'")}', unhex('${bytes.toString('hex')}'))`;
  const settings = {
    output_format_json_quote_64bit_integers: 0,
    output_format_json_quote_denormals: 1,
    output_format_json_quote_decimals: 1,
    date_time_output_format: 'iso',
    output_format_json_escape_forward_slashes: 0,
  };
  return await ctx.clickhouse.send({ settings, body: `SELECT * FROM ${file} FORMAT JSONEachRow`, timeout_ms: 10_000 });
}

const asClickHouse = (lines: string) =>
  lines.replaceAll(/"f0":"(NaN|-?Infinity)"/g, (_, name: string) => {
    return `"f0":"${name.toLowerCase().replace('infinity', 'inf')}"`;
  });

async function expectEverywhere(table: Table): Promise<void> {
  expect((await structured(table, 'ndjson')).toString()).toBe(expected);
  expect(rowsIn(await structured(table, 'json'))).toBe(all('answered').join());
  expect((await inSql(table, 'ndjson')).toString()).toBe(expected);
  expect(rowsIn(await inSql(table, 'json'))).toBe(all('answered').join());
  for (const format of ['parquet', 'arrow'] as const) {
    expect(await linesIn(await structured(table, format), format, table)).toBe(asClickHouse(expected));
    expect(await linesIn(await inSql(table, format), format, table)).toBe(asClickHouse(expected));
  }
}

/** Sends what a table answers to a new one, and looks that it answers the same. */
async function expectSentBack(text: string, format: RowFormat): Promise<void> {
  const again = await newTable(ctx, 1, answeredFields);
  await sendText(again, text, format);
  expect((await structured(again, 'ndjson')).toString()).toBe(expected);
}

test('values of every type come out as they were sent, hot and flushed, in every format, and go in again', async () => {
  const table = await newTable(ctx, 1, fields);
  await sendText(table, all('sent').join('\n'), 'ndjson');
  expect(rowsIn(await structured(table, 'json', {}, alone))).toBe(all('answered').join());
  expect((await structured(table, 'ndjson', {}, alone)).toString()).toBe(expected);
  await expectEverywhere(table);
  const csv = (await inSql(table, 'csv')).toString();
  await flush(ctx, table.dataset);
  await expectEverywhere(table);
  expect((await inSql(table, 'csv')).toString()).toBe(csv);
  await expectSentBack(expected, 'ndjson');
});

test('each row has its page, whatever it is sorted by', async () => {
  const table = await newTable(ctx, 1, fields);
  await sendText(table, all('sent').join('\n'), 'ndjson');
  const sortable = fields.filter(({ type }) => !/^(?:map|string\[\]|vector.*)$/.test(type));
  for (const isFlushed of [false, true]) {
    if (isFlushed) await flush(ctx, table.dataset);
    for (const { name } of sortable) {
      for (const direction of ['asc', 'desc']) {
        const orderBy = [{ column: name, direction }];
        const whole = (await structured(table, 'ndjson', { orderBy })).toString();
        for (const own of isFlushed ? [ctx] : [ctx, alone]) {
          const pages: string[] = [];
          let cursor: string | undefined;
          do {
            const page = await structured(table, 'json', { orderBy, limit: 2, ...(cursor && { cursor }) }, own);
            pages.push(rowsIn(page));
            cursor = (JSON.parse(page.toString()) as { cursor: string | null }).cursor ?? undefined;
          } while (cursor !== undefined);
          expect(pages.join(), `${name} ${direction}`).toBe(whole.trimEnd().replaceAll('\n', ','));
        }
      }
    }
  }
});

test('an export holds the same values, and an import of it the same rows', async () => {
  const table = await newTable(ctx, 1, fields);
  await sendText(table, all('sent').join('\n'), 'ndjson');
  for (const format of ['ndjson', 'csv', 'parquet'] as const) {
    const job = await workUntilOver(ctx, await scheduleExport(ctx, table.dataset, 'm', { format }, undefined));
    expect([job.state, job.error]).toEqual(['done', null]);
    const [object] = (await readExport(ctx, job.id)).objects;
    const bytes = Buffer.from(await (await fetch(await ctx.objects.presign(object?.key ?? '', 60))).arrayBuffer());
    if (format === 'ndjson') expect(bytes.toString()).toBe(expected);
    const key = `imports/types-${process.pid}.${format}`;
    await fetch(await ctx.objects.presignPut(key, 60), { method: 'PUT', body: bytes });
    const again = await newTable(ctx, 1, answeredFields);
    const request = { format, objects: [key] };
    const imported = await workUntilOver(ctx, await scheduleImport(ctx, again.dataset, 'm', request, undefined));
    expect([imported.state, imported.error]).toEqual(['done', null]);
    expect((await structured(again, 'ndjson')).toString(), format).toBe(expected);
    if (format !== 'parquet') await expectSentBack(bytes.toString(), format);
  }
});

test('`timestore ingest` sends the values that a Parquet file holds', async () => {
  const table = await newTable(ctx, 1, fields);
  await sendText(table, all('sent').join('\n'), 'ndjson');
  // The reader makes objects of maps, which do not keep every name and order.
  const most = `SELECT * EXCEPT (${fields.find(({ type }) => type === 'map')?.name}) FROM m ORDER BY timestamp`;
  const again = await newTable(
    ctx,
    1,
    answeredFields.filter(({ type }) => type !== 'map'),
  );
  await sendText(again, (await parquetLines(await inSql(table, 'parquet', most))).join(''), 'ndjson');
  expect((await inSql(again, 'ndjson')).toString()).toBe((await inSql(table, 'ndjson', most)).toString());
});

/** A Parquet file as `timestore ingest` sends it. */
async function parquetLines(bytes: Buffer): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'types-'));
  const path = join(folder, 'rows.parquet');
  await writeFile(path, bytes);
  const lines: string[] = [];
  const cuts = { endAt: () => undefined, nextStart: () => undefined };
  const limits = { rows: 1_000, bytes: 1_000_000 };
  for await (const { body } of cutParquet(path, 'rows.parquet', limits, cuts as never)) lines.push(body.toString());
  await rm(folder, { recursive: true });
  return lines;
}

test('numbers that JSON has not are named wherever they are in an answer of SQL, and text is left alone', async () => {
  const table = await newTable(ctx, 1, fields);
  const sql = `SELECT 0/0 AS a, [1/0, 1, NULL] AS b, map('nan', -1/0) AS c, tuple('inf', 1/0) AS d, 'nan' AS e, ['inf'] AS f,
    CAST((1/0, 'nan'), 'Tuple(\`a b\` Float32, x String)') AS g, (0/0, 1/0)::Point AS h, CAST(nan, 'Nullable(Float64)') AS i`;
  const row =
    '{"a":"NaN","b":["Infinity",1,null],"c":{"nan":"-Infinity"},"d":["inf","Infinity"],"e":"nan","f":["inf"],' +
    '"g":{"a b":"Infinity","x":"nan"},"h":["NaN","Infinity"],"i":"NaN"}';
  expect((await inSql(table, 'ndjson', sql)).toString()).toBe(`${row}\n`);
  expect(rowsIn(await inSql(table, 'json', sql))).toBe(row);
  const totals = 'SELECT 1 AS a, 1/0 AS b FROM numbers(1) GROUP BY a WITH TOTALS';
  expect((await inSql(table, 'json', totals)).toString()).toContain('"totals":{"a":1,"b":"Infinity"}');
});
