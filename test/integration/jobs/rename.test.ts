import { expect, test } from 'vitest';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { scheduleImport } from '../../../src/operations/import/request.ts';
import { scheduleImportVerification } from '../../../src/operations/import/verify.ts';
import { readRename } from '../../../src/schema/rename.ts';
import { at, newDataset, newInstance, query } from '../support.ts';
import { parquetOf, workUntilOver } from './support.ts';

const ctx = newInstance({ TIMESTORE_KEY_PREFIX: `rename-${process.pid}` });

type Format = 'ndjson' | 'csv' | 'parquet';

let objects = 0;
async function put(format: Format, content: string | Uint8Array<ArrayBuffer>): Promise<string> {
  objects += 1;
  const key = `imports/rename-${process.pid}-${objects}.${format}`;
  const answer = await fetch(await ctx.objects.presignPut(key, 60), { method: 'PUT', body: content });
  expect(answer.status).toBe(200);
  return key;
}

const names = { _time: 'timestamp', _id: 'id', _value: 'value' };
const rename = readRename(JSON.stringify(names));
const rows = [
  { timestamp: at(1), id: 'a', value: 1.5 },
  { timestamp: at(2), id: 'b', value: null },
];
const contents: [Format, () => Promise<string | Uint8Array<ArrayBuffer>>][] = [
  [
    'ndjson',
    async () => `{"_time":"${at(1)}","\\u005fid":"a","_value":1.5}\n{"_id":"b","_time":"${at(2)}","_value":null}\n`,
  ],
  ['csv', async () => `_id,_time,_value\r\na,${at(1)},1.5\r\nb,${at(2)},\r\n`],
  [
    'parquet',
    () =>
      parquetOf(
        ctx,
        `SELECT parseDateTime64BestEffort(t.1, 3, 'UTC') AS _time, t.2 AS _id, t.3 AS _value FROM
        (SELECT arrayJoin([('${at(1)}', 'a', 1.5::Nullable(Float64)), ('${at(2)}', 'b', NULL)]) AS t)`,
      ),
  ],
];

async function storedIn(dataset: string) {
  const found = await query(ctx, dataset, { orderBy: [{ column: 'timestamp' }] });
  return found.rows.map(({ timestamp, id, value }) => ({ timestamp, id, value }));
}

test.each(contents)('names of %s are others in the table, and a comparison has them too', async (format, content) => {
  const dataset = newDataset();
  const objectsOf = [await put(format, await content())];
  const request = { format, objects: objectsOf, rename: names };
  const job = await workUntilOver(ctx, await scheduleImport(ctx, dataset, 'm', request, undefined));
  expect([job.state, job.error]).toEqual(['done', null]);
  expect(await storedIn(dataset)).toEqual(rows);
  const compared = await workUntilOver(ctx, await scheduleImportVerification(ctx, dataset, 'm', request, undefined));
  expect(compared.result).toMatchObject({ equal: true, rows: { source: 2, table: 2 } });
  const { result } = await workUntilOver(
    ctx,
    await scheduleImportVerification(
      ctx,
      dataset,
      'm',
      { ...request, rename: { ...names, _value: 'other' } },
      undefined,
    ),
  );
  expect(result).toMatchObject({ equal: false, columns: { onlyInSource: ['other'], onlyInTable: ['value'] } });
});

test.each(contents.slice(0, 2))('rows of %s are sent under the names that they have', async (format, content) => {
  const dataset = newDataset();
  const text = (await content()) as string;
  const sent = { dataset, table: 'm', text, format: format === 'csv' ? ('csv' as const) : ('ndjson' as const), rename };
  const first = await ingestRows(ctx, { ...sent, idempotencyKey: 'client:1' });
  const again = await ingestRows(ctx, { ...sent, idempotencyKey: 'client:1' });
  expect([first.accepted.accepted, again.accepted.replayed]).toEqual([2, true]);
  expect(await storedIn(dataset)).toEqual(rows);
  const other = readRename('{"_time":"timestamp","_id":"id","_value":"v"}');
  await expect(ingestRows(ctx, { ...sent, rename: other, idempotencyKey: 'client:1' })).rejects.toMatchObject({
    code: 'key-reused',
  });
});

test('a name that becomes one that is there, or that is not there, is refused', async () => {
  const clash = `{"_time":"${at(1)}","timestamp":"${at(2)}"}`;
  const sent = { dataset: newDataset(), table: 'm', rename: readRename('{"_time":"timestamp"}') };
  await expect(
    ingestRows(ctx, { ...sent, text: clash, format: 'ndjson', idempotencyKey: undefined }),
  ).rejects.toMatchObject({ extra: { errors: [{ field: 'timestamp', reason: 'duplicate-field' }] } });
  await expect(
    ingestRows(ctx, { ...sent, text: `time\n${at(1)}\n`, format: 'csv', idempotencyKey: undefined }),
  ).rejects.toThrow(/has no name _time, which is to be renamed/);
  for (const wrong of ['{"a":"x","b":"x"}', '{"a":1}', '{"a":""}', '[]', 'a:b']) {
    expect(() => readRename(wrong), wrong).toThrow(/^rename: /);
  }
  const contentsOf: [Format, string | Uint8Array<ArrayBuffer>][] = [
    ['ndjson', `{"timestamp":"${at(1)}"}\n`],
    ['csv', `timestamp\n${at(1)}\n`],
    ['parquet', await parquetOf(ctx, `SELECT now64(3, 'UTC') AS timestamp`)],
  ];
  for (const [format, content] of contentsOf) {
    const request = { format, objects: [await put(format, content)], rename: { _nd: 'id' } };
    const { state, error } = await workUntilOver(ctx, await scheduleImport(ctx, newDataset(), 'm', request, undefined));
    expect([state, error]).toEqual(['failed', expect.stringMatching(/no (?:column|name) _nd, which is to be renamed/)]);
  }
});
