import fc from 'fast-check';
import { expect, test } from 'vitest';
import { identifiedRows } from '../../../src/buffer/batch-rows.ts';
import type { BufferedBatch } from '../../../src/buffer/buffered-batch.ts';
import { cutBatches } from '../../../src/ingest/split-batches.ts';
import { tailStructure } from '../../../src/query/execution/tail.ts';
import { encodeRowBinary, UnreadableBatch } from '../../../src/query/hot/row-binary.ts';
import { prepareRows } from '../../../src/schema/prepare.ts';
import type { TableSchema } from '../../../src/schema/types.ts';
import { newInstance, newTable } from '../support.ts';
import { fields, rowText } from './generated.ts';

const ctx = newInstance();
const schema: TableSchema = {
  version: 3,
  timestampColumn: 'timestamp',
  keyFields: ['device'],
  fields: [
    { name: 'timestamp', type: 'timestamp' },
    ...fields,
    { name: 'device', type: 'string' },
    { name: 'seen', type: 'timestamp' },
    { name: 'later', type: 'integer', default: '-9007199254740993', since: 3 },
    { name: 'words', type: 'string[]', default: '["a","ü"]', since: 3 },
    // An object has a member of this name without being told.
    { name: 'constructor', type: 'double' },
  ],
};

function batchOf(rows: string[], schemaVersion: number, meta: string): BufferedBatch {
  const known = { ...schema, fields: schema.fields.filter(({ since = 1 }) => since <= schemaVersion) };
  const prepared = prepareRows(rows.join('\n'), 'ndjson', known, ctx.config.limits);
  expect(prepared.errors).toEqual([]);
  const [batch] = cutBatches(prepared, { rows: [rows.length], quarantined: [] }, 'day');
  const { payload = '', timeMin_ms = 0, timeMax_ms = 0 } = batch ?? {};
  const place = { seq: 2 ** 40 + 7, id: 'x', receivedAt_ms: 1_777_000_000_123, schemaVersion, meta };
  return { ...place, rows: rows.length, payload, timeMin_ms, timeMax_ms };
}

test('rows sent in RowBinary are what ClickHouse reads of the same rows as JSON', async () => {
  const table = { ...(await newTable(ctx)), schema };
  const read = async (format: string, rows: string | Uint8Array) => {
    const body = new FormData();
    body.append('query', 'SELECT *, toTypeName(tuple(*)) FROM t FORMAT TSV');
    body.append('t_format', format);
    body.append('t_structure', tailStructure(table));
    body.append('t', new Blob([rows as string]), 't');
    const settings = { precise_float_parsing: 1, input_format_skip_unknown_fields: 0 };
    return await ctx.reader.send({ settings, body, timeout_ms: 10_000 });
  };
  const row = fc.tuple(
    rowText,
    fc.option(fc.date({ min: new Date(0), max: new Date('2105-01-01'), noInvalidDate: true })),
  );
  const meta = fc.constantFrom('', '{"key":{"tenant":"ä","b":""}}', '{"actor":"x"}');
  await fc.assert(
    fc.asyncProperty(
      fc.array(row, { minLength: 1, maxLength: 5 }),
      fc.constantFrom(2, 3),
      meta,
      async (rows, version, said) => {
        const texts = rows.map(([text, seen]) => {
          return `{"device":"d",${seen === null ? '' : `"seen":"${seen.toISOString()}",`}${text.slice(1)}`;
        });
        const batch = batchOf(texts, version, said);
        const asJson = await read('JSONEachRow', identifiedRows(batch, schema, 3));
        expect(await read('RowBinary', encodeRowBinary(batch, 3, schema))).toBe(asJson);
        expect(asJson.split('\n')).toHaveLength(rows.length + 1);
      },
    ),
    { numRuns: 150 },
  );
});

test('a number of a vector that lies between two floats is the same one from digits and from bytes', async () => {
  const table = await newTable(ctx, 1, [{ name: 'v', type: 'vector(3)' }]);
  // Just above and below the middle by their digits, and the middle itself as a double.
  const line = '{"timestamp":1777000000000,"v":[1.0000000596046448,1.0000001788139343,-3.0000001192092896]}';
  const prepared = prepareRows(line, 'ndjson', table.schema, ctx.config.limits);
  const [stored] = prepared.lines;
  const sent = JSON.parse(`{${stored}`) as { v: number[] };
  const [read] = await ctx.clickhouse.rows<{ v: number[] }>(
    "SELECT v FROM format(JSONEachRow, 'v Array(Float32)', {text:String})",
    { text: JSON.stringify({ v: sent.v }) },
    { precise_float_parsing: 1 },
  );
  expect(sent.v.map(Math.fround)).toEqual(read?.v.map(Math.fround));
  expect(sent.v).toEqual([1, 1.000000238418579, -3]);
});

test('a batch that is not what its schema says is not sent', () => {
  const good = batchOf(['{"timestamp":1777000000000,"device":"d","s":"x","d":1,"n":2,"b":true,"l":["y"]}'], 3, '');
  const changed = (from: string, to: string) => {
    expect(good.payload).toContain(from);
    return { ...good, payload: good.payload.replace(from, to) };
  };
  expect(() => encodeRowBinary({ ...good }, 0, schema)).not.toThrow();
  for (const [from, to] of [
    ['"s":"x"', '"s":1'],
    ['"d":1', '"d":"1"'],
    ['"n":2', '"n":2.5'],
    ['"b":true', '"b":1'],
    ['"l":["y"]', '"l":[1]'],
    ['"l":["y"]', '"l":"y"'],
    ['"device":"d",', ''],
    ['"s":"x"', '"unknown":"x"'],
    ['"2026', '"x026'],
  ] as const) {
    expect(() => encodeRowBinary(changed(from, to), 0, schema), to).toThrow(UnreadableBatch);
  }
});
