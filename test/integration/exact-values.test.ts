import { randomBytes, randomInt } from 'node:crypto';
import { expect, test } from 'vitest';
import { createTable } from '../../src/catalog/create-table.ts';
import { setUpLanes } from '../../src/catalog/provision-lanes.ts';
import { qualifiedName } from '../../src/core/identifiers.ts';
import { ingestRows } from '../../src/ingest/ingest.ts';
import { scheduleImport } from '../../src/operations/import/request.ts';
import { queryTable } from '../../src/query/execution/query-table.ts';
import { type Format, formats } from '../../src/query/request/format.ts';
import { queryBody } from '../../src/query/request/parse.ts';
import { querySql, sqlBody } from '../../src/query/sql/run-sql.ts';
import { CsvReader } from '../../src/schema/csv-reader.ts';
import { JsonReader, textOf } from '../../src/schema/json-reader.ts';
import type { RowFormat } from '../../src/schema/prepare.ts';
import type { Table } from '../../src/schema/table.ts';
import { clickhouseType, type Field } from '../../src/schema/types.ts';
import { workUntilOver } from './jobs/support.ts';
import { everyone, flush, newDataset, newInstance } from './support.ts';

/** `EXACT_VALUES=200000` tries more. */
const valuesTried = Number(process.env.EXACT_VALUES ?? 20_000);
const scale = 30;
const fields: Field[] = [
  { name: 'd', type: 'double' },
  { name: 'p', type: `decimal(76,${scale})` },
  { name: 'n', type: 'integer' },
  { name: 'u', type: 'unsigned' },
  { name: 't', type: 'timestamp' },
];
const rowsTried = Math.ceil(valuesTried / (fields.length + 1));

const prefix = { TIMESTORE_KEY_PREFIX: `exact-${process.pid}` };
const ctx = newInstance(prefix);
const signal = new AbortController().signal;

const digits = (count: number) => Array.from({ length: count }, () => randomInt(10)).join('');
const pick = <T>(...ways: (() => T)[]): T => (ways[randomInt(ways.length)] as () => T)();
const bits = (unsigned: boolean) => {
  const bytes = randomBytes(8);
  return (unsigned ? bytes.readBigUInt64LE() : bytes.readBigInt64LE()) >> BigInt(randomInt(64));
};

function anyDouble(): string {
  const number = randomBytes(8).readDoubleLE();
  const isWhole = Math.abs(number) >= 2 ** 53 && Math.abs(number) < 1e22;
  return Number.isFinite(number) && !isWhole ? String(number) : anyDouble();
}

/** Half-way between two doubles from 0.5 on, with all its digits, or just beside it. */
function halfWay(): string {
  const mantissa = 2n ** 52n + (randomBytes(8).readBigUInt64LE() >> 12n);
  const text = ((2n * mantissa + 1n) * 5n ** 54n).toString().padStart(54, '0');
  return `0.${text}${pick(
    () => '',
    () => '0000000001',
  )}`;
}

const double = () =>
  pick(
    anyDouble,
    halfWay,
    () => `${randomInt(1, 10)}.${digits(40)}e-${randomInt(300, 321)}`,
    () => `-${randomInt(1000)}.${digits(40)}`,
    () => pick(...['0', '-0', '5e-324', '2.2250738585072011e-308', '1.7976931348623157e308'].map((each) => () => each)),
  );

const decimal = () => {
  const rest = randomInt(scale + 1);
  const whole = BigInt(digits(randomInt(1, 77 - scale)));
  return `${pick(
    () => '',
    () => '-',
  )}${whole}${rest === 0 ? '' : `.${digits(rest)}`}`;
};

const dayStart_ms = Date.UTC(2026, 4, 1);

function time(ms: number): string {
  const count = randomInt(10);
  const second = new Date(ms).toISOString().slice(0, 19);
  return `${second}${count === 0 ? '' : `.${digits(count)}`}Z`;
}

type Sent = { timestamp: string; d: string; p: string; n: string; u: string; t: string };

const sentRows = (): Sent[] =>
  Array.from({ length: rowsTried }, (_, i) => ({
    timestamp: time(dayStart_ms + i * 1_000),
    d: double(),
    p: decimal(),
    n: String(bits(false)),
    u: String(bits(true)),
    t: time(Math.floor(Math.random() * Date.UTC(2105, 11, 31))),
  }));

function bitsOf(text: string): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(Number(text));
  return String(bytes.readBigUInt64LE());
}

/** A decimal by its units. */
function unitsOf(text: string): string {
  const [whole = '', rest = ''] = text.split('.');
  return String(BigInt(`${whole}${rest.padEnd(scale, '0')}`.replace('-', '')) * (text.startsWith('-') ? -1n : 1n));
}

function nanosOf(text: string): string {
  const [second = '', rest = ''] = text.replace(' ', 'T').replace('Z', '').split('.');
  return String(BigInt(Date.parse(`${second}Z`)) * 1_000_000n + BigInt(rest.padEnd(9, '0')));
}

const names = ['timestamp', ...fields.map(({ name }) => name)];
const meant = (name: string, text = '') =>
  name === 'd' ? bitsOf(text) : name === 'p' ? unitsOf(text) : /^t/.test(name) ? nanosOf(text) : String(BigInt(text));

/** Rows as lines of what their values mean, whatever their texts are. */
const exact = (rows: Iterable<Map<string, string | undefined>>): string[] =>
  Array.from(rows, (row) => names.map((name) => meant(name, row.get(name))).join());

const objectsIn = (text: string) => {
  const reader = new JsonReader(text);
  const rows: Map<string, string | undefined>[] = [];
  while (!reader.atEnd()) {
    rows.push(new Map(reader.members().map((member) => [member.name, textOf(member)])));
    reader.take(',');
  }
  return rows;
};

function cellsIn(text: string) {
  const reader = new CsvReader(text);
  const header = reader.next()?.cells ?? [];
  const rows: Map<string, string | undefined>[] = [];
  for (let record = reader.next(); record !== undefined; record = reader.next()) {
    rows.push(new Map(record.cells.map((cell, i) => [header[i]?.text ?? '', cell.text])));
  }
  return rows;
}

function listsIn(text: string) {
  const [header = '[]', , ...lines] = text.trimEnd().split('\n');
  const columns = JSON.parse(header) as string[];
  return lines.map((line) => {
    const reader = new JsonReader(line);
    reader.expect('[');
    const row = new Map<string, string | undefined>();
    for (const column of columns) {
      row.set(column, textOf(reader.value()));
      reader.take(',');
    }
    return row;
  });
}

async function newTable(): Promise<Table> {
  const columns: Field[] = [{ name: 'timestamp', type: 'timestamp' }, ...fields];
  const table = await createTable(ctx, {
    dataset: newDataset(),
    name: 'm',
    window: 'day',
    lanes: 1,
    schema: { version: 1, timestampColumn: 'timestamp', timestampPrecision: 9, keyFields: [], fields: columns },
  });
  await setUpLanes(ctx, table);
  return table;
}

/** What stands for a row's values in ClickHouse. */
const inClickHouse = `toUnixTimestamp64Nano(timestamp), reinterpretAsUInt64(assumeNotNull(d)), toString(assumeNotNull(p)),
  toString(assumeNotNull(n)), toString(assumeNotNull(u)), toUnixTimestamp64Nano(assumeNotNull(t))`;

async function selected(from: string): Promise<string[]> {
  const text = await ctx.clickhouse.send({
    body: `SELECT concatWithSeparator(',', ${inClickHouse}) FROM ${from} ORDER BY timestamp FORMAT TSVRaw`,
    settings: { max_query_size: 100_000_000 },
    timeout_ms: 30_000,
  });
  const rows = text
    .trimEnd()
    .split('\n')
    .map((line) => line.split(','));
  return rows.map((row) => row.map((each, i) => (names[i] === 'p' ? unitsOf(each) : each)).join());
}

async function inFile(bytes: Buffer, format: 'parquet' | 'arrow', { schema }: Table): Promise<string[]> {
  const columns = schema.fields.map((field) => `${field.name} ${clickhouseType(field, schema)}`).join(', ');
  return await selected(
    `format(${formats[format].clickhouse}, '${columns.replaceAll("'", "\\'")}', unhex('${bytes.toString('hex')}'))`,
  );
}

async function answer({ dataset }: Table, format: Format, way: 'query' | 'sql'): Promise<Buffer> {
  const parts: Buffer[] = [];
  const timeRange = { start: '2026-05-01T00:00:00Z' };
  const limit = format === 'json' ? rowsTried : null;
  const { body } =
    way === 'query'
      ? await queryTable(ctx, everyone, dataset, queryBody.parse({ tableName: 'm', timeRange, limit }), {
          format,
          signal,
        })
      : await querySql(ctx, everyone, sqlBody.parse({ sql: 'SELECT * FROM m ORDER BY timestamp', dataset }), {
          format,
          signal,
        });
  for await (const part of body) parts.push(Buffer.from(part as string));
  return Buffer.concat(parts);
}

const listed = (json: string) => /"rows":\[(.*)\],"(?:warnings|statistics)"/s.exec(json)?.[1] ?? '';

async function valuesIn(bytes: Buffer, format: Format, table: Table): Promise<string[]> {
  if (format === 'parquet' || format === 'arrow') return await inFile(bytes, format, table);
  const text = bytes.toString();
  if (format === 'csv') return exact(cellsIn(text));
  if (format === 'compact') return exact(listsIn(text));
  return exact(objectsIn(format === 'json' ? listed(text) : text));
}

async function sentAgain(text: string, format: RowFormat): Promise<string[]> {
  const again = await newTable();
  await ingestRows(ctx, { dataset: again.dataset, table: 'm', text, format, idempotencyKey: undefined });
  await flush(ctx, again.dataset);
  return await selected(qualifiedName(again));
}

async function broughtIn(bytes: Buffer): Promise<string[]> {
  const again = await newTable();
  const key = `imports/exact-${again.dataset}.parquet`;
  const put = await fetch(await ctx.objects.presignPut(key, 60), { method: 'PUT', body: new Uint8Array(bytes) });
  expect(put.status).toBe(200);
  const job = await scheduleImport(ctx, again.dataset, 'm', { format: 'parquet', objects: [key] }, undefined);
  const { state, error } = await workUntilOver(ctx, job);
  expect([state, error]).toEqual(['done', null]);
  return await selected(qualifiedName(again));
}

test('numbers and times are the same to the last bit, hot and flushed, in every format, and when they are sent again', async () => {
  const table = await newTable();
  const sent = sentRows();
  const text = sent.map(
    ({ timestamp, d, p, n, u, t }) => `{"timestamp":"${timestamp}","d":${d},"p":"${p}","n":${n},"u":${u},"t":"${t}"}`,
  );
  const truth = exact(sent.map((row) => new Map(Object.entries(row))));
  await ingestRows(ctx, {
    dataset: table.dataset,
    table: 'm',
    format: 'ndjson',
    idempotencyKey: undefined,
    text: text.join('\n'),
  });
  for (const isFlushed of [false, true]) {
    if (isFlushed) await flush(ctx, table.dataset);
    for (const way of ['query', 'sql'] as const) {
      for (const format of ['json', 'ndjson', 'csv', 'parquet', 'arrow', 'compact'] as const) {
        const bytes = await answer(table, format, way);
        expect(await valuesIn(bytes, format, table), `${way} as ${format}, flushed: ${isFlushed}`).toEqual(truth);
        if (!isFlushed) continue;
        if (format === 'ndjson' || format === 'csv') {
          expect(await sentAgain(bytes.toString(), format), `${way} as ${format}, sent again`).toEqual(truth);
        }
        if (format === 'parquet') expect(await broughtIn(bytes), `${way} as Parquet, imported`).toEqual(truth);
      }
    }
  }
});
