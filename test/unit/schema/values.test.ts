import { describe, expect, test } from 'vitest';
import type { TimePrecision } from '../../../src/schema/timestamp.ts';
import { clickhouseType, fieldType } from '../../../src/schema/types.ts';
import { schemaOf, store } from './support.ts';

describe('a value is stored exactly, or refused with the reason', () => {
  test.each<[Parameters<typeof store>[0], string, string]>([
    ['string', '"plain"', '"plain"'],
    ['string', '"ü😀\\u00e9\\n\\"\\\\\\/"', '"ü😀é\\n\\"\\\\/"'],
    ['string', '"\\u0000"', '"\\u0000"'],
    ['string', '"007"', '"007"'],
    ['string', '""', '""'],
    ['string', '"\\ud83d\\ude00"', '"😀"'],
    ['string', '"\\ud83d"', 'bad-string'],
    ['string', '7', 'wrong-type'],
    ['string', 'null', 'absent'],
    ['double', '0', '0'],
    ['double', '-0', '-0'],
    ['double', '0.1', '0.1'],
    ['double', '1e308', '1e308'],
    ['double', '5e-324', '5e-324'],
    ['double', '1e309', 'out-of-range'],
    ['double', '9007199254740992', '9007199254740992'],
    ['double', '9007199254740993', 'not-exact'],
    ['double', '"1"', 'wrong-type'],
    ['double', 'true', 'wrong-type'],
    ['double', '"NaN"', '"NaN"'],
    ['double', '"Infinity"', '"Infinity"'],
    ['double', '"-\\u0049nfinity"', '"-Infinity"'],
    ['double', '"nan"', 'wrong-type'],
    ['double', '"+Infinity"', 'wrong-type'],
    ['unsigned', '18446744073709551615', '18446744073709551615'],
    ['unsigned', '"18446744073709551615"', '18446744073709551615'],
    ['unsigned', '18446744073709551616', 'out-of-range'],
    ['unsigned', '1.8446744073709551615e19', '18446744073709551615'],
    ['unsigned', '-1', 'out-of-range'],
    ['unsigned', '-0', '0'],
    ['unsigned', '0.5', 'not-exact'],
    ['unsigned', '"1.0"', 'wrong-type'],
    ['decimal(5,2)', '1.5', '"1.5"'],
    ['decimal(5,2)', '-0', '"0"'],
    ['decimal(5,2)', '"999.99"', '"999.99"'],
    ['decimal(5,2)', '999.9900', '"999.99"'],
    ['decimal(5,2)', '99999e-2', '"999.99"'],
    ['decimal(5,2)', '0.005', 'not-exact'],
    ['decimal(5,2)', '1000', 'out-of-range'],
    ['decimal(5,2)', '1e3', 'out-of-range'],
    ['decimal(5,2)', '1e999999999999', 'out-of-range'],
    ['decimal(5,2)', '"+1"', 'wrong-type'],
    ['decimal(5,2)', '"01"', 'wrong-type'],
    ['decimal(5,2)', '"NaN"', 'wrong-type'],
    ['decimal(5,2)', 'true', 'wrong-type'],
    ['decimal(38,0)', '12345678901234567890123456789012345678', '"12345678901234567890123456789012345678"'],
    ['decimal(3,3)', '0.001', '"0.001"'],
    ['decimal(3,3)', '1', 'out-of-range'],
    ['integer', '9007199254740993', '9007199254740993'],
    ['integer', '"9007199254740993"', '9007199254740993'],
    ['integer', '9223372036854775807', '9223372036854775807'],
    ['integer', '-9223372036854775808', '-9223372036854775808'],
    ['integer', '9223372036854775808', 'out-of-range'],
    ['integer', '-0', '0'],
    ['integer', '1e3', '1000'],
    ['integer', '2.0', '2'],
    ['integer', '0.5', 'not-exact'],
    ['integer', '"007"', 'wrong-type'],
    ['integer', '""', 'wrong-type'],
    ['boolean', 'true', 'true'],
    ['boolean', 'false', 'false'],
    ['boolean', '1', 'wrong-type'],
    ['boolean', '"true"', 'wrong-type'],
    ['json', '{"b":1.50,"a":[1, 2]}', '"{\\"b\\":1.50,\\"a\\":[1, 2]}"'],
    ['json', '[\n1]', '"[\\n1]"'],
    ['json', '9007199254740993', '"9007199254740993"'],
    ['json', '"s"', '"\\"s\\""'],
    ['string[]', '["a","b\\u0000"]', '["a","b\\u0000"]'],
    ['string[]', '[]', '[]'],
    ['string[]', '["a",1]', 'wrong-type'],
    ['string[]', '["\\ud83d"]', 'bad-string'],
    ['string[]', '"a"', 'wrong-type'],
    ['map', '{ "b" : "\\u0061", "1":"", "__proto__":"x"}', '{"b":"a","1":"","__proto__":"x"}'],
    ['map', '{}', '{}'],
    ['map', '{"a":1}', 'wrong-type'],
    ['map', '{"a":null}', 'wrong-type'],
    ['map', '{"a":{"b":"c"}}', 'wrong-type'],
    ['map', '["a"]', 'wrong-type'],
    ['map', '"{}"', 'wrong-type'],
    ['map', '{"a":"x","\\u0061":"y"}', 'duplicate-field'],
    ['map', '{"\\ud83d":"x"}', 'bad-string'],
    ['map', '{"x":"\\ud83d"}', 'bad-string'],
    ['vector(2)', '[1,0.5]', '[1,0.5]'],
    ['vector(2)', '[1]', 'wrong-length'],
    ['vector(2)', '[1,null]', 'wrong-type'],
    ['vector(2)', '[1,1e39]', 'out-of-range'],
    ['timestamp', '"2026-05-01T10:00:00Z"', '"2026-05-01 10:00:00.000"'],
    ['timestamp', '1777629600123', '"2026-05-01 10:00:00.123"'],
  ])('%s %s → %s', (type, json, stored) => {
    expect(store(type, json)).toBe(stored);
  });
});

describe('a timestamp is a moment from 1970 to 2105, in UTC with up to nine digits of a second', () => {
  test.each([
    ['"1970-01-01T00:00:00Z"', '1970-01-01 00:00:00.000'],
    ['"2105-12-31T23:59:59.999Z"', '2105-12-31 23:59:59.999'],
    ['"2026-05-01T12:00:00+02:00"', '2026-05-01 10:00:00.000'],
    ['"2026-05-01T00:00:00-05:30"', '2026-05-01 05:30:00.000'],
    ['"2026-05-01t10:00:00z"', '2026-05-01 10:00:00.000'],
    ['"2026-05-01 10:00:00"', '2026-05-01 10:00:00.000'],
    ['"2026-05-01 10:00:00.5"', '2026-05-01 10:00:00.500'],
    ['"2026-05-01T10:00:00.123456789Z"', '2026-05-01 10:00:00.123456789'],
    ['"2026-05-01T10:00:00.123456Z"', '2026-05-01 10:00:00.123456'],
    ['"2026-05-01T10:00:00.1234560Z"', '2026-05-01 10:00:00.123456'],
    ['"2026-05-01T10:00:00.123000000Z"', '2026-05-01 10:00:00.123'],
    ['"2026-05-01T10:00:00.0001Z"', '2026-05-01 10:00:00.000100'],
    ['"2026-05-01T12:00:00.000000001+02:00"', '2026-05-01 10:00:00.000000001'],
    ['"2105-12-31T23:59:59.999999999Z"', '2105-12-31 23:59:59.999999999'],
    ['"2024-02-29T00:00:00Z"', '2024-02-29 00:00:00.000'],
    ['0', '1970-01-01 00:00:00.000'],
  ])('%s → %s', (json, stored) => {
    expect(store('timestamp', json)).toBe(`"${stored}"`);
  });

  test.each<[string, TimePrecision, string]>([
    ['"2026-05-01T10:00:00.123Z"', 3, '"2026-05-01 10:00:00.123"'],
    ['"2026-05-01T10:00:00.123000Z"', 3, '"2026-05-01 10:00:00.123"'],
    ['"2026-05-01T10:00:00.1230001Z"', 3, 'not-exact'],
    ['"2026-05-01T10:00:00.123456Z"', 3, 'not-exact'],
    ['"2026-05-01T10:00:00.123456Z"', 6, '"2026-05-01 10:00:00.123456"'],
    ['"2026-05-01T10:00:00.123456001Z"', 6, 'not-exact'],
  ])('%s in a table of %d digits → %s', (json, precision, stored) => {
    expect(store('timestamp', json, precision)).toBe(stored);
  });

  test.each([
    ['"1969-12-31T23:59:59.999Z"', 'out-of-range'],
    ['"2106-01-01T00:00:00Z"', 'out-of-range'],
    ['"1970-01-01T00:00:00+01:00"', 'out-of-range'],
    ['-1', 'out-of-range'],
    ['1.5', 'bad-timestamp'],
    ['"2026-02-29T00:00:00Z"', 'bad-timestamp'],
    ['"2026-04-31T00:00:00Z"', 'bad-timestamp'],
    ['"2026-05-01T24:00:00Z"', 'bad-timestamp'],
    ['"2026-05-01T23:59:60Z"', 'bad-timestamp'],
    ['"2026-05-01T10:00:00"', 'bad-timestamp'],
    ['"2026-05-01"', 'bad-timestamp'],
    ['"yesterday"', 'bad-timestamp'],
    ['""', 'bad-timestamp'],
    ['true', 'bad-timestamp'],
  ])('%s is refused: %s', (json, reason) => {
    expect(store('timestamp', json)).toBe(reason);
  });
});

test('every type has one ClickHouse type, nullable unless it is a key or a list', () => {
  const schema = { ...schemaOf(), keyFields: ['host'] };
  const types = [
    'string',
    'double',
    'integer',
    'unsigned',
    'boolean',
    'json',
    'string[]',
    'vector(3)',
    'timestamp',
  ] as const;
  expect(types.map((type) => clickhouseType({ name: 'f', type }, schema))).toEqual([
    'Nullable(String)',
    'Nullable(Float64)',
    'Nullable(Int64)',
    'Nullable(UInt64)',
    'Nullable(Bool)',
    'Nullable(String)',
    'Array(String)',
    'Array(Float32)',
    "Nullable(DateTime64(9, 'UTC'))",
  ]);
  expect(clickhouseType({ name: 'host', type: 'string' }, schema)).toBe('String');
  expect(clickhouseType({ name: 'timestamp', type: 'timestamp' }, schema)).toBe("DateTime64(9, 'UTC')");
});

test.each([
  ['vector(3)', true],
  ['string[]', true],
  ['decimal(1,0)', true],
  ['decimal(76,76)', true],
  ['decimal(77,0)', false],
  ['decimal(0,0)', false],
  ['decimal(5,6)', false],
  ['decimal(5)', false],
  ['vector(0)', false],
  ['vector(x)', false],
  ['text', false],
])('%s is a type: %s', (name, is) => {
  expect(fieldType.safeParse(name).success).toBe(is);
});
