import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readConfig } from '../../../src/core/config.ts';
import { prepareRows, type RowChecks } from '../../../src/schema/prepare.ts';
import type { TableSchema } from '../../../src/schema/types.ts';
import { environment } from './support.ts';

const limits = { ...readConfig(environment).limits, row_bytes_max: 1_000 };

const schema: TableSchema = {
  version: 3,
  timestampColumn: 'at',
  keyFields: ['device'],
  fields: [
    { name: 'at', type: 'timestamp' },
    { name: 'seen', type: 'timestamp' },
    { name: 'device', type: 'string' },
    { name: 'na"me', type: 'string' },
    { name: 'd', type: 'double' },
    { name: 'i', type: 'integer' },
    { name: 'b', type: 'boolean' },
    { name: 'j', type: 'json' },
    { name: 'l', type: 'string[]' },
    { name: 'v', type: 'vector(2)' },
    { name: 'later', type: 'double', default: '1.5', since: 2 },
  ],
};

const oddNumbers = [
  '0',
  '-0',
  '00',
  '01',
  '-01',
  '1.',
  '.5',
  '-',
  '1.50',
  '-0.0',
  '1e5',
  '1E400',
  '12x',
  '+1',
  '999999999999999',
  '9007199254740993',
  '-9223372036854775809',
  '0.1234567890123456789',
];
const oddStrings = [
  '"a\tb"',
  '"a\nb"',
  '"a\\nb"',
  '"\\ud800"',
  '"ü€😀"',
  '"unfinished',
  '""',
  '"a\\"b"',
  `"${'x'.repeat(1_000)}"`,
];
const oddTimes = [
  '"2026-02-28T23:59:59Z"',
  '"2026-02-29T00:00:00Z"',
  '"2024-02-29T00:00:00.000Z"',
  '"2100-02-29T00:00:00Z"',
  '"2026-05-01T24:00:00Z"',
  '"2026-05-01T10:60:00Z"',
  '"2026-05-01T10:00:60.000Z"',
  '"2026-13-01T10:00:00Z"',
  '"2026-05-01 10:00:00"',
  '"2026-05-01t10:00:00z"',
  '"2026-05-01T10:00:00+02:00"',
  '"2026-04-31T10:00:00Z"',
  '"2026-05-01T10:00:00.12Z"',
  '"2026-05-01T10:00:00,120Z"',
  '"2026-0a-01T10:00:00.120Z"',
  '1777629600000',
  '"1969-12-31T23:59:59.999Z"',
  '"2105-12-31T23:59:59.999Z"',
  '"2106-01-01T00:00:00.000Z"',
  '"2026/05/01T10:00:00Z"',
];
const oddOthers = [
  'true',
  'false',
  'null',
  'tru',
  'truee',
  'falsey',
  '{}',
  '[]',
  '{"a":[1.0,{"b":null}]}',
  '["x","y"]',
  '[1,2.5]',
  '[1]',
  '["x",1]',
  '{"a"}',
  '[1e39,0]',
  '',
];
const oddValues = [...oddNumbers, ...oddStrings, ...oddTimes, ...oddOthers];
const numbers = fc.oneof(
  fc.constantFrom(...oddNumbers),
  fc.integer().map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
);
const strings = fc.oneof(
  fc.string({ maxLength: 12 }).map((text) => JSON.stringify(text)),
  fc.constantFrom(...oddStrings),
);
const times = fc.oneof(
  fc
    .date({ min: new Date('1960-01-01T00:00:00Z'), max: new Date('2110-01-01T00:00:00Z'), noInvalidDate: true })
    .map((date) => `"${date.toISOString()}"`),
  fc.constantFrom(...oddTimes),
);
const others = fc.constantFrom(...oddOthers);
const valuesOf: Record<string, fc.Arbitrary<string>> = {
  at: times,
  seen: times,
  device: strings,
  'na"me': strings,
  d: numbers,
  i: numbers,
  b: others,
  j: others,
  l: others,
  v: others,
  later: numbers,
  unknown: numbers,
  at2: times,
};
const anything = fc.oneof(numbers, strings, times, others);
const good: Record<string, string> = {
  at: '"2026-05-01T10:00:00.000Z"',
  seen: '"2026-05-01T10:00:01Z"',
  device: '"d1"',
  'na"me': '"n"',
  d: '0.25',
  i: '7',
  b: 'true',
  j: '{"a":1}',
  l: '["x"]',
  v: '[1,2]',
  later: '2',
  unknown: '1',
  at2: '"x"',
};
const space = fc.constantFrom('', '', '', '', ' ', '  ', '\n', '\t');
const names = Object.keys(valuesOf);

/** Good values in any order, and at most one that may be anything; without its opening brace. */
const row = fc
  .record({
    fields: fc.shuffledSubarray(names.slice(0, -2), { minLength: 6 }),
    odd: fc.option(
      fc.constantFrom(...names).chain((name) => {
        const value = fc.oneof(
          { weight: 3, arbitrary: valuesOf[name] ?? anything },
          { weight: 1, arbitrary: anything },
        );
        return fc.record({ name: fc.constant(name), value, isMore: fc.nat(9).map((n) => n === 0) });
      }),
      { freq: 3 },
    ),
    spaces: fc.tuple(space, space, space),
  })
  .map(({ fields, odd, spaces: [a, b, c] }) => {
    const members = fields.map((name) => ({ name, value: odd?.name === name && !odd.isMore ? odd.value : good[name] }));
    if (odd?.isMore || (odd && !fields.includes(odd.name))) members.push(odd);
    return `${members.map(({ name, value }) => `${a}${JSON.stringify(name)}${b}:${c}${value}`).join()}}`;
  });

/** Numbers by their text. */
const digits = ((_: string, value: unknown, { source }: { source?: string }) =>
  typeof value === 'number' ? source : value) as Parameters<typeof JSON.parse>[1];

/** What comes of rows; with a tab behind its brace, a row is always read in full. */
function outcome(rows: string[], brace: '{' | '{\t', checks: RowChecks) {
  try {
    const { lines, refused, ...rest } = prepareRows(
      `[${rows.map((text) => brace + text).join()}]`,
      'json',
      schema,
      limits,
      checks,
    );
    const values = lines.map((line) => JSON.parse(`{${line}`, digits));
    return {
      ...rest,
      refused: refused.map(({ source, ...refusal }) => refusal),
      values,
      areLines: !lines.some((line) => line.includes('\n')),
    };
  } catch (error) {
    return { error: (error as Error).name };
  }
}

/** Each row, read at a look where it can be, and in full. */
function expectTheSame(rows: string[], checks: RowChecks = {}): number {
  const plain = outcome(rows, '{', checks);
  expect(plain).toEqual(outcome(rows, '{\t', checks));
  return 'error' in plain ? 0 : plain.values.length;
}

test('a value that is not as usual becomes what the full reading makes of it, in each field', () => {
  // Without the one whose name alone is enough for a full reading.
  const plainNames = schema.fields.map(({ name }) => name).filter((name) => name !== 'na"me');
  for (const field of [...plainNames, 'unknown']) {
    for (const odd of oddValues) {
      const members = plainNames.map((name) => [name, name === field ? odd : good[name]]);
      if (field === 'unknown') members.push([field, odd]);
      const text = members.map(([name = '', value]) => `${JSON.stringify(name)}:${value}`).join();
      expectTheSame([`${text}}`]);
      for (const name of plainNames) expectTheSame([`${text},${JSON.stringify(name)}:${good[name]}}`]);
    }
  }
});

test('rows that need no more than a look become what the full reading makes of them', () => {
  let taken = 0;
  fc.assert(
    fc.property(
      fc.array(row, { minLength: 1, maxLength: 3 }),
      fc.constantFrom<RowChecks>(
        {},
        { refuse: new Set([1]), keepRefused: 5 },
        { retainedFrom_ms: Date.UTC(2026, 3, 1) },
      ),
      (rows, checks) => {
        taken += expectTheSame(rows, checks);
      },
    ),
    { numRuns: 1_000 },
  );
  expect(taken).toBeGreaterThan(250);
});
