import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createTable } from '../../../src/catalog/create-table.ts';
import { setUpLanes } from '../../../src/catalog/provision-lanes.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import type { Job } from '../../../src/jobs/job.ts';
import { scheduleImportVerification } from '../../../src/operations/import/verify.ts';
import type { Field } from '../../../src/schema/types.ts';
import { at, newDataset, newInstance } from '../support.ts';
import { workUntilOver } from './support.ts';

const ctx = newInstance({ TIMESTORE_KEY_PREFIX: `compare-values-${process.pid}` });

type Format = 'ndjson' | 'csv' | 'parquet';

let objects = 0;
async function put(format: Format, content: string | Uint8Array<ArrayBuffer>): Promise<string> {
  objects += 1;
  const key = `imports/compare-values-${process.pid}-${objects}.${format}`;
  const answer = await fetch(await ctx.objects.presignPut(key, 60), { method: 'PUT', body: content });
  expect(answer.status).toBe(200);
  return key;
}

/** A table of these fields and rows, which are lines of NDJSON. */
async function tableWith(fields: Record<string, Field['type']>, lines: string[]): Promise<string> {
  const dataset = newDataset();
  const declared = Object.entries(fields).map(([name, type]): Field => ({ name, type }));
  const all: Field[] = [{ name: 'timestamp', type: 'timestamp' }, ...declared];
  const schema = {
    version: 1,
    timestampColumn: 'timestamp',
    timestampPrecision: 9 as const,
    keyFields: [],
    fields: all,
  };
  await setUpLanes(ctx, await createTable(ctx, { dataset, name: 'm', window: 'day', lanes: 1, schema }));
  await ingestRows(ctx, { dataset, table: 'm', text: lines.join('\n'), format: 'ndjson', idempotencyKey: undefined });
  return dataset;
}

type Found = {
  equal: boolean;
  rows: { source: number; table: number };
  differing: { columns: { name: string }[] }[];
  columns: { onlyInSource: string[]; onlyInTable: string[] };
  wrongRows: number;
  errors: { field: string; reason: string; row: number; line?: number }[];
};

async function compare(dataset: string, format: Format, key: string, more = {}): Promise<Job & { result: Found }> {
  const begun = await scheduleImportVerification(ctx, dataset, 'm', { format, objects: [key], ...more }, undefined);
  return (await workUntilOver(ctx, begun)) as unknown as Job & { result: Found };
}

const differingColumns = ({ result }: { result: Found }) =>
  result.differing.flatMap(({ columns }) => columns.map(({ name }) => name)).sort();

/** A field: its type, the value that a row sends, and another one that a faulty reader might store for it. */
type Case = [name: string, type: Field['type'], sent: string, stored: string];

async function eachIsSeen(format: Format, content: string | Uint8Array<ArrayBuffer>, cases: Case[], time: string) {
  const fields = Object.fromEntries(cases.map(([name, type]) => [name, type]));
  const line = (timestamp: string, value: (each: Case) => string) =>
    `{"timestamp":"${timestamp}",${cases.map((each) => `${JSON.stringify(each[0])}:${value(each)}`).join(',')}}`;
  const key = await put(format, content);
  const right = await tableWith(fields, [line(time, ([, , sent]) => sent)]);
  const range = { timeRange: { end: at(1) } };
  const same = await compare(right, format, key, range);
  expect([same.state, same.error, same.result]).toMatchObject(['done', null, { equal: true, differing: [] }]);
  const faulty = await tableWith(fields, [line(time, ([, , , stored]) => stored)]);
  const other = await compare(faulty, format, key, range);
  expect(other.result).toMatchObject({ equal: false, rows: { source: 1, table: 1 } });
  expect(differingColumns(other)).toEqual(cases.map(([name]) => name).sort());
}

const texts: Case[] = [
  ['ulp', 'double', '0.30000000000000004', '0.3'],
  ['halfway', 'double', '1.00000000000000011102230246251565404236316680908203126', '1'],
  ['subnormal', 'double', '5e-324', '1e-323'],
  ['minus_zero', 'double', '-0', '0'],
  ['no_number', 'double', '"NaN"', 'null'],
  ['infinite', 'double', '"-Infinity"', '"Infinity"'],
  ['beyond', 'integer', '9007199254740993', '9007199254740992'],
  ['least', 'integer', '-9223372036854775808', '-9223372036854775807'],
  ['unsigned', 'unsigned', '18446744073709551615', '18446744073709551614'],
  ['decimal', 'decimal(38,2)', '"12345678901234567.89"', '12345678901234568'],
  ['id', 'decimal(76,0)', `"${'9'.repeat(76)}"`, `"${'9'.repeat(75)}8"`],
  ['nanos', 'timestamp', '"2026-05-01T10:00:00.123456789Z"', '"2026-05-01T10:00:00.123456Z"'],
  ['empty', 'string', '""', 'null'],
  ['n_text', 'string', '"\\\\N"', '""'],
  ['return', 'string', '"a\\r"', '"a"'],
  ['yes', 'boolean', 'true', 'false'],
  ['tags', 'string[]', '["a","b"]', '["b","a"]'],
  ['map', 'map', '{"b":"x","a":""}', '{"b":"x"}'],
  ['vector', 'vector(2)', '[0.1,-2.5]', '[0.10000001,-2.5]'],
  ['nested', 'json', '{"a":null,"b":[1.50,"NaN"]}', '{"a":null,"b":[1.5,null]}'],
  ['day', 'double', '1', '2'],
  ['isSource', 'double', '1', '2'],
  ['rows', 'double', '1', '2'],
  ['hash', 'string', '"x"', '"y"'],
  ['nulls', 'json', '[{"a":null}]', '[null]'],
  ['long', 'json', '{"n":12345678901234567890123}', '{"n":12345678901234567890124}'],
];

describe('a comparison sees a value that was stored otherwise', () => {
  test('than NDJSON has it', async () => {
    const members = texts.map(([name, , sent]) => `${JSON.stringify(name)} : ${sent}`);
    const text = `{${members.join(' ,\t')}, "timestamp":"2026-05-01T12:00:00.000000001\\u002b02:00"}\n`;
    await eachIsSeen('ndjson', text, texts, '2026-05-01T10:00:00.000000001Z');
  });

  test('than CSV has it', async () => {
    const cell = ([, type, sent]: Case) => {
      const text = sent.startsWith('"') ? (JSON.parse(sent) as string) : sent;
      return type === 'string' || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const names = ['timestamp', ...texts.map(([name]) => name)].join(',');
    for (const end of ['\n', '\r\n', '\r']) {
      const text = `${names}${end}2026-05-01 10:00:00.000000001,${texts.map(cell).join(',')}${end}`;
      await eachIsSeen('csv', text, texts, '2026-05-01T10:00:00.000000001Z');
    }
  });

  test('than Parquet has it', async () => {
    const cases: Case[] = [
      ['nan', 'json', '[1.5,"NaN"]', '[1.5,null]'],
      ['list', 'json', 'null', '[]'],
      ['pair', 'json', 'null', '{"a":null,"b":null}'],
      ['time', 'string', '"10:00:00.000005"', '"10:00:00.000000"'],
      ['id', 'decimal(38,0)', '1234567890123456789', '1234567890123456800'],
      ['price', 'decimal(38,2)', '"12345678901234567.89"', '12345678901234568'],
      ['day', 'timestamp', '"2026-05-01T00:00:00Z"', '"2026-05-01T02:00:00Z"'],
      ['d', 'double', '0.1', '0.10000000000000002'],
      ['f', 'double', '0.10000000149011612', '0.1'],
      ['u', 'unsigned', '18446744073709551615', '18446744073709551614'],
      ['s', 'string', '"a/b"', '"a\\\\/b"'],
      ['tags', 'string[]', '["a","b"]', '[]'],
      ['map', 'map', '{"a":"b","k":"v"}', '{"k":"v"}'],
      ['b', 'boolean', 'true', 'false'],
      ['flba', 'string', '"abcd"', '"efgh"'],
    ];
    const file = new Uint8Array(readFileSync(join(import.meta.dirname, 'files', 'values.parquet')));
    await eachIsSeen('parquet', file, cases, '2026-05-01T10:00:00.123456Z');
  });

  test('than a time of day, which is no time of 1970, and than microseconds', async () => {
    const file = new Uint8Array(readFileSync(join(import.meta.dirname, 'files', 'values.parquet')));
    const key = await put('parquet', file);
    const dataset = await tableWith({ time: 'timestamp' }, [
      '{"timestamp":"2026-05-01T10:00:00.123Z","time":36000000}',
    ]);
    const { result } = await compare(dataset, 'parquet', key);
    expect(result).toMatchObject({ equal: false, wrongRows: 3 });
    expect(result.errors[0]).toMatchObject({ row: 0, field: 'time', reason: 'bad-timestamp' });
    const cut = await tableWith({ d: 'double' }, ['{"timestamp":"2026-05-01T10:00:00.123Z","d":0.1}']);
    const other = await compare(cut, 'parquet', key, { timeRange: { end: at(1) } });
    expect(differingColumns(other)).toEqual(['timestamp']);
  });
});

describe('a comparison sees', () => {
  const lines = Array.from({ length: 2_000 }, (_, i) => `{"timestamp":"${at(i % 60)}","n":${i},"s":"s${i}"}`);
  const fields = { n: 'double', s: 'string' } as const;

  test('rows that a quote without end has swallowed', async () => {
    const cells = lines.map((_, i) => `${at(i % 60)},${i},${i === 1_000 ? '"broken' : `s${i}`}`);
    const text = `timestamp,n,s\n${cells.join('\n')}\n`;
    const swallowed = JSON.stringify(text.slice(text.indexOf('"broken') + 1));
    const dataset = await tableWith(fields, [
      ...lines.slice(0, 1_000),
      `{"timestamp":"${at(1_000 % 60)}","n":1000,"s":${swallowed}}`,
    ]);
    const { state, error } = await compare(dataset, 'csv', await put('csv', text));
    expect([state, error]).toEqual(['failed', expect.stringMatching(/row 1001 \(line 1002\): a quote is opened/)]);
  });

  test('a row that is missing, and one that is there twice', async () => {
    const key = await put('ndjson', lines.join('\n'));
    expect((await compare(await tableWith(fields, lines), 'ndjson', key)).result.equal).toBe(true);
    for (const stored of [lines.slice(1), [...lines, lines[7] ?? '']]) {
      const { result } = await compare(await tableWith(fields, stored), 'ndjson', key);
      expect(result).toMatchObject({ equal: false, rows: { source: 2_000, table: stored.length } });
    }
  });

  test('fields that were dropped, in whatever rows', async () => {
    const text = `${lines[0]}\n{"timestamp":"${at(1)}","n":1,"s":"x","note":"keep me","big":10000000000000000000000}\n`;
    const key = await put('ndjson', text);
    const stored = [lines[0] ?? '', `{"timestamp":"${at(1)}","n":1,"s":"x"}`];
    const { result } = await compare(await tableWith(fields, stored), 'ndjson', key);
    expect(result).toMatchObject({ equal: false, columns: { onlyInSource: ['note', 'big'] } });
    const there = await tableWith({ ...fields, note: 'string', big: 'double' }, stored);
    expect(differingColumns(await compare(there, 'ndjson', key))).toEqual(['big', 'note']);
  });

  test('a field that a row names twice, whatever was stored of it', async () => {
    for (const members of ['"n":1,"n":2', '"n":null,"\\u006e":2', '"n":1,"n":1']) {
      const key = await put('ndjson', `{"timestamp":"${at(0)}",${members}}\n`);
      const dataset = await tableWith(fields, [`{"timestamp":"${at(0)}","n":1}`]);
      const { result } = await compare(dataset, 'ndjson', key);
      expect(result).toMatchObject({
        equal: false,
        wrongRows: 1,
        errors: [{ row: 0, line: 1, field: 'n', reason: 'duplicate-field' }],
      });
    }
  });

  test('carriage returns in last cells, and a column without a name', async () => {
    const mixed = await put('csv', `timestamp,n,s\n${at(0)},0,NYC\r\n${at(1)},1,LA\r\n`);
    const row = (second: number, s: string) => `{"timestamp":"${at(second)}","n":${second},"s":"${s}"}`;
    expect((await compare(await tableWith(fields, [row(0, 'NYC'), row(1, 'LA')]), 'csv', mixed)).result.equal).toBe(
      true,
    );
    const kept = await tableWith(fields, [row(0, 'NYC\\r'), row(1, 'LA\\r')]);
    expect(differingColumns(await compare(kept, 'csv', mixed))).toEqual(['s']);
    const unnamed = await put('csv', `,timestamp,n,s\n0,${at(0)},0,a\n`);
    const { result } = await compare(await tableWith(fields, [row(0, 'a')]), 'csv', unnamed);
    expect(result).toMatchObject({ equal: false, columns: { onlyInSource: [''] } });
  });
});
