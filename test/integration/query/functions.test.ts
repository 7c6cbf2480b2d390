import { expect, test } from 'vitest';
import { isAllowedFunction } from '../../../src/query/sql/allowed-functions.ts';
import { deniedReason } from '../../../src/query/sql/denied-functions.ts';
import { atAny } from '../../../src/stores/clickhouse/servers.ts';
import { newInstance, sql } from '../support.ts';

const ctx = newInstance();

/** With the aliases, which have the case of their own. */
async function functionsOfServer(): Promise<string[]> {
  const found = await atAny(ctx).clickhouse.rows<{ name: string }>('SELECT name FROM system.functions ORDER BY name');
  return found.map(({ name }) => name);
}

test('every function of the server is sorted by what it reaches, once', async () => {
  const names = await functionsOfServer();
  expect(names.length).toBeGreaterThan(1_500);
  // Names shown here are those of a newer server: sort them into allowed-functions.json or denied-functions.ts.
  expect(names.filter((name) => !isAllowedFunction(name) && deniedReason(name) === undefined)).toEqual([]);
  expect(names.filter((name) => isAllowedFunction(name) && deniedReason(name) !== undefined)).toEqual([]);
});

test.each<[string, unknown]>([
  ['length(seriesDecomposeSTL([10.1, 20.45, 40.34, 10.1, 20.45, 40.34, 10.1, 20.45, 40.34], 3))', 4],
  ['seriesOutliersDetectTukey([1, 2, 3, 4, 5, 6, 7, 8, 100])[9] > 0', 1],
  ["length(timeSeriesRange('2025-06-01 00:00:00'::DateTime64(3), '2025-06-01 00:01:00'::DateTime64(3), 30))", 3],
  ['length(timeSeriesFromGrid(0::UInt32, 60::UInt32, 30, [1.0, 2.0, 3.0]))', 3],
  ['arraySort(array_concat_agg([number])) FROM numbers(2)', [0, 1]],
  ["normalizeQuery('SELECT 1, 2')", 'SELECT ?..'],
  ["normalizedQueryHash('SELECT 1') = normalizedQueryHash('SELECT 2')", 1],
  ['round(colorSRGBToOKLCH((128, 64, 32)).1, 2)', 0.44],
  ["version() LIKE '%.%'", 1],
  ['currentDatabase()', 'here'],
  ["concat(DATABASE(), '.', current_database( ), `schema`())", 'here.herehere'],
])('%s reads nothing but its arguments', async (expression, expected) => {
  const { rows } = await sql(ctx, `SELECT ${expression}`, { dataset: 'here' });
  expect(Object.values(rows[0] ?? {})).toEqual([expected]);
});

test('what the dataset is called is answered under the name that was written', async () => {
  const { columns } = await sql(ctx, 'SELECT currentDatabase(), DATABASE() AS d, upper(database())', {
    dataset: 'here',
  });
  expect(columns.map(({ name }) => name)).toEqual(['currentDatabase()', 'd', 'upper(database())']);
});

test.each([
  ["naiveBayesClassifier('d', 'x')", 'it reads dictionaries'],
  ["joinGet('t', 'v', 1)", 'it reads tables by name'],
  ['hostName()', 'it returns facts of the server'],
])('%s says why it is refused', async (expression, words) => {
  await expect(sql(ctx, `SELECT ${expression}`, { dataset: 'here' })).rejects.toThrow(words);
});
