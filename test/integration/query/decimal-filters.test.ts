import { beforeAll, expect, test } from 'vitest';
import type { Field } from '../../../src/schema/types.ts';
import { at, flush, newInstance, newTable, query, send } from '../support.ts';

/** A number has its place among decimals also where their type does not hold it, as in mathematics; hot and flushed alike. */
const ctx = newInstance();

const fields: Field[] = [
  { name: 'id', type: 'integer' },
  { name: 'money', type: 'decimal(5,2)' },
  { name: 'part', type: 'decimal(2,2)' },
  { name: 'large', type: 'decimal(76,0)' },
];
const nines = '9'.repeat(76);
const stored: Record<string, (string | null)[]> = {
  money: ['0', '-999.99', '999.99', '1', '1.01', '-1', '-1.01', '1.5', null],
  part: ['0', '-0.99', '0.99', '0.5', '0.51', '-0.5', '-0.51', '0.01', null],
  large: ['0', nines, `-${nines}`, '1', '2', '-1', '-2', '9007199254740993', null],
};
const ids = [...(stored.money ?? []).keys()];
const numbers: Record<string, (string | number)[]> = {
  money: [
    '1.005',
    '-1.005',
    '0.001',
    '-0.001',
    '999.99',
    '999.991',
    '1000',
    '-999.991',
    '-1000',
    '1.50',
    '-0.0',
    '1e400',
    '-1e400',
    '1e-400',
    '-1e-400',
    1.5,
    1.0000001,
    0.125,
    -5e-324,
    1e300,
    '1e99999999999',
    '-1e-99999999999',
  ],
  part: ['0.505', '-0.505', '1', '-1', '0.991', '-0.991', '5e-1', 0.5],
  large: [
    '1.5',
    '-1.5',
    '0.5',
    '-0.5',
    `${nines}.5`,
    `-${nines}.5`,
    `1${nines}`,
    `-1${nines}`,
    '9007199254740992.9',
    1e-7,
  ],
};

let dataset = '';

beforeAll(async () => {
  ({ dataset } = await newTable(ctx, 1, fields));
  const rows = ids.map((id) => {
    const values = Object.fromEntries(Object.entries(stored).map(([name, all]) => [name, all[id] ?? null]));
    return { timestamp: at(id), id, ...values };
  });
  await send(ctx, dataset, rows.slice(0, 4));
  await flush(ctx, dataset);
  await send(ctx, dataset, rows.slice(4));
});

/** A number times a power of ten that makes each of these whole; beyond that, one that is as large or as small as any. */
function whole(number: string | number): bigint {
  const [, sign, before = '', after = '', power = '0'] =
    /^(-?)([0-9]+)(?:\.([0-9]+))?(?:e\+?(-?[0-9]+))?$/.exec(String(number)) ?? [];
  const shift = Math.max(0, Math.min(1_000, 500 + Math.max(-450, Math.min(450, Number(power))) - after.length));
  const size = BigInt(before + after) * 10n ** BigInt(shift);
  return sign === '-' ? -size : size;
}

type Compare = (found: bigint, wanted: bigint) => boolean;
const comparisons: Record<string, Compare> = {
  eq: (found, wanted) => found === wanted,
  ne: (found, wanted) => found !== wanted,
  lt: (found, wanted) => found < wanted,
  lte: (found, wanted) => found <= wanted,
  gt: (found, wanted) => found > wanted,
  gte: (found, wanted) => found >= wanted,
};

/** The rows in which a test is true of a field. What is null is not found. */
function idsWhere(name: string, is: (found: bigint) => boolean): number[] {
  return ids.filter((id) => {
    const value = stored[name]?.[id] ?? null;
    return value !== null && is(whole(value));
  });
}

type Asked = { column: string; op: string; value: unknown };

function* conditions(): Generator<{ asked: Asked; expected: number[] }> {
  for (const [column, values] of Object.entries(numbers)) {
    for (const value of values) {
      for (const [op, compare] of Object.entries(comparisons)) {
        yield { asked: { column, op, value }, expected: idsWhere(column, (found) => compare(found, whole(value))) };
      }
    }
    const [low = 0, high = 0] = values.toSorted((a, b) => (whole(a) < whole(b) ? -1 : 1)).slice(2, 5);
    const isListed = (found: bigint) => values.some((value) => whole(value) === found);
    const isBetween = (found: bigint) => found >= whole(low) && found <= whole(high);
    const none = values.filter((value) => idsWhere(column, (found) => found === whole(value)).length === 0).slice(0, 2);
    yield { asked: { column, op: 'in', value: values }, expected: idsWhere(column, isListed) };
    yield { asked: { column, op: 'notIn', value: values }, expected: idsWhere(column, (found) => !isListed(found)) };
    yield { asked: { column, op: 'in', value: none }, expected: [] };
    yield { asked: { column, op: 'notIn', value: none }, expected: idsWhere(column, () => true) };
    yield { asked: { column, op: 'between', value: [low, high] }, expected: idsWhere(column, isBetween) };
    yield { asked: { column, op: 'between', value: [high, low] }, expected: [] };
  }
}

async function expectAll(): Promise<void> {
  const all = [...conditions()];
  for (let i = 0; i < all.length; i += 8) {
    await Promise.all(
      all.slice(i, i + 8).map(async ({ asked, expected }) => {
        const body = { columns: ['id'], filters: { columns: [asked] }, orderBy: [{ column: 'id' }] };
        const { rows } = await query(ctx, dataset, body);
        expect({ asked, ids: rows.map(({ id }) => id) }).toEqual({ asked, ids: expected });
      }),
    );
  }
}

test('each comparison with each number, with half of the rows hot and with all flushed', async () => {
  await expectAll();
  const either = {
    or: [
      { column: 'money', op: 'eq', value: '1.005' },
      { column: 'money', op: 'gt', value: '1.499' },
    ],
  };
  const both = {
    and: [
      { column: 'money', op: 'ne', value: '1.005' },
      { column: 'money', op: 'lt', value: '-999.985' },
    ],
  };
  for (const [filter, expected] of [
    [either, [2, 7]],
    [both, [1]],
  ] as const) {
    const { rows } = await query(ctx, dataset, { filters: { columns: [filter] }, orderBy: [{ column: 'id' }] });
    expect(rows.map(({ id }) => id)).toEqual(expected);
  }
  await flush(ctx, dataset);
  await expectAll();
});

test.each([['x'], ['1,5'], [true], ['NaN'], ['0x10'], [0.1234567890123456]])('%j is refused', async (value) => {
  for (const asked of [
    { op: 'gt', value },
    { op: 'in', value: ['1', value] },
    { op: 'between', value: ['1', value] },
  ]) {
    const body = { filters: { columns: [{ column: 'money', ...asked }] } };
    await expect(query(ctx, dataset, body)).rejects.toThrow('takes a number');
  }
});

test('an operator that numbers do not have is refused whatever it is given', async () => {
  for (const value of ['1.005', '1', '1e400']) {
    const body = { filters: { columns: [{ column: 'money', op: 'contains', value }] } };
    await expect(query(ctx, dataset, body)).rejects.toThrow('operator contains does not apply');
  }
});
