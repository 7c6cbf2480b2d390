import fc from 'fast-check';
import { expect, test } from 'vitest';
import { JsonReader } from '../../../src/schema/json-reader.ts';
import { at, newDataset } from '../support.ts';
import { useWorker } from './worker.ts';

const call = useWorker();

const fields = [
  { name: 'd', type: 'double' },
  { name: 'n', type: 'integer' },
  { name: 'ok', type: 'boolean' },
  { name: 's', type: 'string' },
  { name: 'tags', type: 'string[]' },
  { name: 'e', type: 'vector(2)' },
  { name: 'seen', type: 'timestamp' },
  { name: 'j', type: 'json' },
  { name: 'labels', type: 'map' },
  { name: 'p', type: 'decimal(76,10)' },
  { name: 'u', type: 'unsigned' },
];

const texts = fc.oneof(
  fc.constantFrom('', '\\N', 'NULL', 'null', 'a,"b"', 'x\ny', '\r\n', "'", '[1]', ' ', '007', 'true', '\t', '\\'),
  fc.string({ unit: 'binary', maxLength: 12 }).filter((text) => text.isWellFormed()),
);
const nested = fc.jsonValue({ maxDepth: 2 });
const finer = ([ms, digits]: [number, string]) => new Date(ms).toISOString().replace('Z', `${digits}Z`);
const maybe = <T>(of: fc.Arbitrary<T>) => fc.option(of, { freq: 4 });
const row = fc.record({
  d: maybe(
    fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constantFrom('NaN', 'Infinity', '-Infinity')),
  ),
  n: maybe(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String)),
  ok: maybe(fc.boolean()),
  s: maybe(texts),
  tags: fc.array(texts, { maxLength: 4 }),
  e: fc.constantFrom([0.5, -2], [1e30, 0.1]),
  seen: maybe(fc.tuple(fc.integer({ min: 0, max: 2 ** 41 }), fc.stringMatching(/^[0-9]{0,6}$/)).map(finer)),
  j: maybe(
    fc.oneof(
      texts,
      texts.map((text) => JSON.stringify(text)),
      nested,
      nested.map((value) => JSON.stringify(value)),
    ),
  ),
  labels: maybe(fc.dictionary(texts, texts, { maxKeys: 4, noNullPrototype: true })),
  p: maybe(
    fc
      .tuple(fc.bigInt({ min: -(10n ** 66n) + 1n, max: 10n ** 66n - 1n }), fc.stringMatching(/^[0-9]{1,10}$/))
      .map(([whole, rest]) => `${whole}.${rest}`),
  ),
  u: maybe(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String)),
});

const types = { csv: 'text/csv', ndjson: 'application/x-ndjson', json: 'application/json' } as const;

async function declared(rows: object[]): Promise<string> {
  const dataset = newDataset();
  // The first row makes the table; it is not asked for.
  const json = { tableName: 'm', schema: { fields }, rows: [{ timestamp: '1990-01-01T00:00:00Z' }, ...rows] };
  const answer = await call(`/v1/datasets/${dataset}/ingest`, { json });
  expect([answer.status, await answer.text()]).toEqual([202, expect.any(String)]);
  return dataset;
}

/** The list of rows in a JSON answer, as it stands there. */
function rowsOf(answer: string): string {
  const reader = new JsonReader(answer);
  const rows = reader.members().find(({ name }) => name === 'rows');
  if (rows === undefined) throw new Error('the answer has no rows');
  return rows.text;
}

const flush = (dataset: string) => call('/v1/admin/flush', { json: { dataset, table: 'm' } });

async function ask(dataset: string, format: string, way: 'query' | 'sql'): Promise<string> {
  const answer =
    way === 'query'
      ? await call(`/v1/datasets/${dataset}/query`, {
          json: { tableName: 'm', format, limit: format === 'json' ? 1000 : null, timeRange: { start: at(0) } },
        })
      : await call('/v1/sql', {
          json: { sql: "SELECT * FROM m WHERE timestamp > '2000-01-01' ORDER BY timestamp", dataset, format },
        });
  expect(answer.status).toBe(200);
  return await answer.text();
}

test.each(
  (['csv', 'ndjson', 'json'] as const).flatMap((format) =>
    (['query', 'sql'] as const).flatMap((way) =>
      (['hot', 'flushed'] as const).map((state) => ({ format, way, state })),
    ),
  ),
)('what $way answers as $format is read again as the same rows, $state', async ({ format, way, state }) => {
  await fc.assert(
    fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 20 }), async (sent) => {
      const dataset = await declared(sent.map((each, i) => ({ timestamp: at(i), ...each })));
      if (state === 'flushed') await flush(dataset);
      const answered = await ask(dataset, format, way);
      const text = format === 'json' ? rowsOf(answered) : answered;
      const again = await declared([]);
      const body = { method: 'POST', body: text, headers: { 'content-type': types[format] } };
      const taken = await call(`/v1/datasets/${again}/tables/m/rows`, body);
      expect([taken.status, await taken.json()]).toEqual([202, expect.objectContaining({ accepted: sent.length })]);
      if (state === 'flushed') await flush(again);
      const [first, second] = await Promise.all([dataset, again].map((each) => ask(each, 'ndjson', 'query')));
      expect(second).toBe(first);
    }),
    { numRuns: 6 },
  );
});

test('lists, tuples and maps of SQL are JSON in CSV, null is an empty cell', async () => {
  const dataset = await declared([{ timestamp: at(1), tags: ['a,"', 'b'] }]);
  const sql =
    "SELECT tags, s, '' AS empty, [1, 2] AS l, (1, 'x') AS t, map('k', 9007199254740993) AS m FROM m WHERE notEmpty(tags)";
  const answer = await call('/v1/sql', { json: { sql, dataset, format: 'csv' } });
  const [names, line] = (await answer.text()).split('\n');
  expect(names).toBe('"tags","s","empty","l","t","m"');
  expect(line).toBe(`"[""a,\\"""",""b""]",,"","[1,2]","[1,""x""]","{""k"":9007199254740993}"`);
  const twice = await call('/v1/sql', { json: { sql: 'SELECT tags, tags AS tags FROM m', dataset, format: 'csv' } });
  expect(twice.status).toBe(200);
});
