import fc from 'fast-check';
import type { Field } from '../../../src/schema/types.ts';

/** A field of each type, and rows and queries over them. */
export const fields: readonly Field[] = [
  { name: 's', type: 'string' },
  { name: 'd', type: 'double' },
  { name: 'b', type: 'boolean' },
  { name: 'l', type: 'string[]' },
  { name: 'j', type: 'json' },
  { name: 'n', type: 'integer' },
  { name: 'u', type: 'unsigned' },
  { name: 'e', type: 'decimal(40,3)' },
  { name: 'v', type: 'vector(2)' },
];

const text = fc.oneof(
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }).filter((value) => value.isWellFormed()) },
  { weight: 1, arbitrary: fc.constantFrom('\u2028\u2029\u007f/', '\u0000\u001f\b\f\n\r\t"\\', '%_\\%', "it's", '😀') },
  { weight: 4, arbitrary: fc.constantFrom('a', 'ab', 'b', '', '\\a', 'a\\%', '\\\\%', '_b') },
);
const finite = { noNaN: true, noDefaultInfinity: true };
const double = fc.oneof(fc.double(finite), fc.float(finite), fc.integer({ min: -3, max: 3 }));
const integer = fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -3n, max: 3n }));
const unsigned = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 3n }));
const noNumber = fc.constantFrom('"NaN"', '"Infinity"', '"-Infinity"');
const decimal = fc
  .oneof(fc.bigInt({ min: -(10n ** 40n) + 1n, max: 10n ** 40n - 1n }), fc.bigInt({ min: -3000n, max: 3000n }))
  .map(
    (units) =>
      `${units < 0n ? '-' : ''}${String(units < 0n ? -units : units)
        .padStart(4, '0')
        .replace(/(...)$/, '.$1')}`,
  );
const option = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { freq: 4 });

const first_ms = 1_777_000_000_000;
const time_ms = fc.integer({ min: 0, max: 40 }).map((n) => first_ms + n * 250);

export const start = new Date(first_ms).toISOString();

/** Rows as a client would send them: integers beyond 2^53 as they are. */
export const rowText: fc.Arbitrary<string> = fc
  .record({
    timestamp: time_ms.map(String),
    s: option(text).map((each) => JSON.stringify(each)),
    d: fc.oneof(
      { weight: 1, arbitrary: noNumber },
      {
        weight: 6,
        arbitrary: option(double.filter((each) => !Number.isInteger(each) || Number.isSafeInteger(each))).map(
          (each) => {
            return Object.is(each, -0) ? '-0.0' : JSON.stringify(each);
          },
        ),
      },
    ),
    b: option(fc.boolean()).map(String),
    l: fc.array(text, { maxLength: 3 }).map((each) => JSON.stringify(each)),
    j: option(fc.json({ maxDepth: 1 })).map((each) => each ?? 'null'),
    n: option(integer).map(String),
    u: option(unsigned).map(String),
    e: option(decimal).map(String),
    v: fc.array(fc.float(finite), { minLength: 2, maxLength: 2 }).map((each) => JSON.stringify(each)),
  })
  .map(
    (row) =>
      `{${Object.entries(row)
        .map(([name, json]) => `"${name}":${json}`)
        .join(',')}}`,
  );

const number = fc.oneof(
  fc.integer({ min: -3, max: 3 }),
  double.filter((each) => Math.abs(each) < 1e15),
);
const values: Record<string, fc.Arbitrary<unknown>> = {
  timestamp: fc.oneof(
    time_ms,
    time_ms.map((each) => new Date(each).toISOString()),
  ),
  s: text,
  j: text,
  d: fc.oneof(
    { weight: 4, arbitrary: number },
    { weight: 1, arbitrary: noNumber.map((each) => JSON.parse(each) as string) },
  ),
  n: fc.oneof(number, integer.map(String)),
  u: fc.oneof(number, unsigned.map(String)),
  e: fc.oneof(decimal, fc.integer({ min: -3, max: 3 })),
  b: fc.boolean(),
};

const comparing = ['eq', 'ne', 'lt', 'lte', 'gt', 'gte'];
const searching = ['contains', 'notContains', 'startsWith', 'endsWith', 'like', 'notLike'];

function conditionOn(column: string, value: fc.Arbitrary<unknown>): fc.Arbitrary<object> {
  const isText = column === 's' || column === 'j';
  const single = column === 'b' ? ['eq', 'ne'] : [...comparing, ...(isText ? searching : [])];
  return fc.oneof(
    fc
      .record({ column: fc.constant(column), op: fc.constantFrom(...single), value })
      .filter(({ op, value: pattern }) => !/like$/i.test(op) || !/(?<!\\)(?:\\\\)*\\$/.test(String(pattern))),
    fc.record({
      column: fc.constant(column),
      op: fc.constantFrom('in', 'notIn'),
      value: fc.array(value, { minLength: 1, maxLength: 3 }),
    }),
    fc.record({ column: fc.constant(column), op: fc.constantFrom('isNull', 'isNotNull') }),
    ...(column === 'b'
      ? []
      : [fc.record({ column: fc.constant(column), op: fc.constant('between'), value: fc.tuple(value, value) })]),
  );
}

const condition: fc.Arbitrary<object> = fc.oneof(
  ...Object.entries(values).map(([column, value]) => conditionOn(column, value)),
  fc.record({ column: fc.constant('l'), op: fc.constant('has'), value: text }),
  fc.record({
    column: fc.constant('l'),
    op: fc.constantFrom('hasAny', 'hasAll', 'eq', 'ne'),
    value: fc.array(text, { maxLength: 2 }),
  }),
  fc.record({ column: fc.constantFrom('l', 'v'), op: fc.constantFrom('isEmpty', 'isNotEmpty') }),
);

const filter: fc.Arbitrary<object> = fc.oneof(
  { weight: 3, arbitrary: condition },
  { weight: 1, arbitrary: fc.record({ or: fc.array(condition, { minLength: 1, maxLength: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ and: fc.array(condition, { minLength: 1, maxLength: 2 }) }) },
);

const sortable = ['timestamp', 's', 'd', 'b', 'j', 'n', 'u', 'e'];
const orderBy = fc
  .subarray(sortable, { minLength: 1, maxLength: 3 })
  .chain((columns) =>
    fc.tuple(
      ...columns.map((column) => fc.record({ column: fc.constant(column), direction: fc.constantFrom('asc', 'desc') })),
    ),
  );

/** Raw queries over all of it. */
export const rawQuery: fc.Arbitrary<Record<string, unknown>> = fc.record(
  {
    timeRange: fc.constant({ start }),
    filters: fc.record({ columns: fc.array(filter, { maxLength: 2 }) }),
    orderBy,
    columns: fc.subarray(['timestamp', ...fields.map(({ name }) => name)], { minLength: 1 }),
    limit: fc.integer({ min: 1, max: 30 }),
  },
  { requiredKeys: ['timeRange'] },
);

const aggregation = fc.oneof(
  fc.record({
    function: fc.constantFrom('avg', 'sum', 'median', 'min', 'max', 'count', 'count_distinct', 'first', 'last'),
    column: fc.constant('d'),
  }),
  fc.record({
    function: fc.constantFrom('sum', 'min', 'max', 'count', 'count_distinct', 'first', 'last', 'median'),
    column: fc.constantFrom('n', 'u', 'e'),
  }),
  fc.record({
    function: fc.constantFrom('min', 'max', 'count', 'count_distinct', 'first', 'last'),
    column: fc.constantFrom('s', 'b', 'timestamp'),
  }),
  fc.record({ function: fc.constantFrom('count', 'first', 'last'), column: fc.constantFrom('l', 'v', 'j') }),
  fc.constant({ function: 'count' }),
  fc.record({
    function: fc.constant('percentile'),
    column: fc.constantFrom('d', 'n', 'u', 'e'),
    percentile: fc.integer({ min: 0, max: 100 }),
  }),
);

/** Downsampled ones. */
export const downsampledQuery: fc.Arbitrary<Record<string, unknown>> = fc.record({
  timeRange: fc.constantFrom({ start }, { start, end: new Date(first_ms + 15_000).toISOString() }, {}),
  filters: fc.record({ columns: fc.array(filter, { maxLength: 1 }) }),
  downsample: fc.record({
    intervalUnit: fc.constantFrom('second', 'minute', 'hour', 'day', 'week', 'month'),
    intervalSize: fc.integer({ min: 1, max: 5 }),
    timeZone: fc.constantFrom('UTC', 'Europe/Zurich', 'Asia/Kathmandu', 'America/New_York'),
    aggregations: fc.uniqueArray(aggregation, { minLength: 1, maxLength: 4, selector: (each) => JSON.stringify(each) }),
    groupBy: fc.constantFrom([], ['b'], ['s'], ['b', 's']),
    fill: fc.constantFrom('none', 'null', 'zero', 'previous'),
  }),
});
