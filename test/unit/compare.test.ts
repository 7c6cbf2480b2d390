import { expect, test } from 'vitest';
import { compareAnswers, parseRows } from '../../src/operations/takeover/compare-answers.ts';

const types = new Map([
  ['timestamp', "DateTime64(3, 'UTC')"],
  ['n', 'Nullable(Int64)'],
  ['d', 'Nullable(Float64)'],
  ['s', 'Nullable(String)'],
]);
const compare = (origin: object[], here: object[], more: object = {}) =>
  compareAnswers(origin as Record<string, unknown>[], here as Record<string, unknown>[], {
    types,
    orderBy: undefined,
    isDownsampled: false,
    ...more,
  });
const time = '2026-05-01T10:00:00.000Z';

test('the same values are the same, however they are written', () => {
  expect(
    compare(
      [{ timestamp: '2026-05-01 10:00:00', s: 'a', d: 1, n: '9007199254740993', x: null, j: { a: 1, b: 2 } }],
      [{ n: 9007199254740993n, d: 1.0, s: 'a', timestamp: time, j: { b: 2, a: 1 } }],
    ),
  ).toBeUndefined();
  expect(compare([{ timestamp: Date.parse(time) }], [{ timestamp: '2026-05-01T12:00:00+02:00' }])).toBeUndefined();
  const [exact] = parseRows('{"columns":["n"],"types":["Int64"],"rows":[{"n":9007199254740993}]}')?.rows ?? [];
  expect(exact).toEqual({ n: 9007199254740993n });
});

test.each<[string, object, object, string[]]>([
  ['a number', { n: 1 }, { n: 2 }, ['n']],
  ['digits that a double has not', { n: 9007199254740993n }, { n: 9007199254740992n }, ['n']],
  ['a text that looks like a time', { s: '2026-05-01 10:00:00' }, { s: time }, ['s']],
  ['a text and a number', { s: '1' }, { s: 1 }, ['s']],
  ['a millisecond', { timestamp: time }, { timestamp: '2026-05-01T10:00:00.001Z' }, ['timestamp']],
  ['a field that is not there', { s: 'a', n: 1 }, { s: 'a' }, ['n']],
])('%s is a difference, and its field is named', (_, origin, here, fields) => {
  expect(compare([{ d: 7 }, origin], [here, { d: 7 }])).toEqual({
    reason: 'rows',
    fields,
    originOnly: [origin],
    hereOnly: [here],
  });
});

test('rows count as often as they are there', () => {
  expect(compare([{ n: 1 }, { n: 1 }], [{ n: 1 }])).toMatchObject({ originOnly: [{ n: 1 }], hereOnly: [] });
  expect(compare([{ n: 1 }], [{ n: 1 }, { n: 2 }])).toMatchObject({ originOnly: [], hereOnly: [{ n: 2 }] });
});

test('order matters where the query orders, and nowhere else', () => {
  const [a, b, c] = [
    { n: 1, s: 'a' },
    { n: 1, s: 'b' },
    { n: 2, s: 'c' },
  ];
  const orderBy = [{ column: 'n', direction: 'asc' as const }];
  expect(compare([a, c, b], [c, b, a])).toBeUndefined();
  expect(compare([a, b, c], [b, a, c], { orderBy })).toBeUndefined();
  expect(compare([a, c, b], [a, b, c], { orderBy })).toMatchObject({ reason: 'order', fields: ['n'] });
});

test('sums of doubles may differ in digits that depend on the order', () => {
  const [sum, other] = [{ d: 0.1 + 0.2 }, { d: 0.3 }];
  expect(compare([sum], [other], { isDownsampled: true })).toBeUndefined();
  expect(compare([sum], [other])).toMatchObject({ fields: ['d'] });
});

test('a field with the name of what every object has is only a field', () => {
  expect(compare([{ timestamp: time, n: 1 }], [{ timestamp: time, n: 2, constructor: null }])?.fields).toEqual(['n']);
  const order = { orderBy: [{ column: 'constructor' }] };
  expect(compare([{ timestamp: time }], [{ timestamp: time, constructor: null }], order)).toBeUndefined();
});
