import { expect, test } from 'vitest';
import { at, flush, newDataset, newInstance, query, send, sql } from '../support.ts';

const ctx = newInstance();

/** A table of 900 fields, with names that make any statement over all of them long. */
async function newWide(name: string): Promise<string> {
  const dataset = newDataset();
  const fields = Array.from({ length: 900 }, (_, i) => [`${name}_${i}`, i]);
  await send(ctx, dataset, [{ timestamp: at(1), ...Object.fromEntries(fields) }]);
  return dataset;
}

test('SQL may have 100,000 characters, of whatever length in bytes, and tables may be wide', async () => {
  const dataset = await newWide('a_name_as_it_may_be');
  const ask = async (character: string) =>
    await sql(ctx, `SELECT '${character.repeat(99_900)}' AS y, (SELECT count() FROM m AS a) AS n`, { dataset });
  expect((await query(ctx, dataset)).columns).toHaveLength(901);
  await flush(ctx, dataset);
  for (const character of ['y', 'ü', '語']) {
    expect((await ask(character)).rows).toEqual([{ y: character.repeat(99_900), n: 1 }]);
  }
  await expect(ask('語語')).rejects.toMatchObject({ code: 'limit-exceeded' });
});

test('a statement that is too long to go along with a tail is refused until that is flushed, and says so', async () => {
  const dataset = await newWide(`a_name_that_is_${'rather_'.repeat(9)}long`);
  await expect(query(ctx, dataset)).rejects.toMatchObject({
    code: 'limit-exceeded',
    message: expect.stringContaining('fewer columns'),
  });
  expect((await query(ctx, dataset, { columns: ['timestamp'] })).rows).toEqual([{ timestamp: at(1) }]);
  await flush(ctx, dataset);
  expect((await query(ctx, dataset)).columns).toHaveLength(901);
  const names = 'SELECT count() AS n FROM m AS a, m AS b, m AS c, m AS d';
  expect((await sql(ctx, names, { dataset })).rows).toEqual([{ n: 1 }]);
});

test('a filter takes a long list, and one that is too long is refused by its limit', async () => {
  const dataset = newDataset();
  await send(ctx, dataset, [{ timestamp: at(1), n: 7_000.5, s: 'x' }]);
  const inList = (column: string, value: unknown[]) =>
    query(ctx, dataset, { filters: { columns: [{ column, op: 'in', value }] } });
  expect(
    (
      await inList(
        'n',
        Array.from({ length: 10_000 }, (_, i) => i + 0.5),
      )
    ).rows,
  ).toHaveLength(1);
  expect(
    (await inList('s', ['x', ...Array.from({ length: 3_000 }, (_, i) => `${'v'.repeat(20)}${i}`)])).rows,
  ).toHaveLength(1);
  await expect(
    inList(
      's',
      Array.from({ length: 9_000 }, () => 'v'.repeat(20)),
    ),
  ).rejects.toMatchObject({
    code: 'limit-exceeded',
    message: expect.stringContaining('sql_param_bytes_max'),
  });
});
