import { describe, expect, test } from 'vitest';
import { ApiError } from '../../../src/core/errors.ts';
import { prepare, schemaOf } from './support.ts';

const csv = (text: string, options = {}) => prepare(text, { format: 'csv', ...options });

const stored = (text: string, schema = schemaOf()) =>
  csv(text, { schema })
    .payload.trimEnd()
    .split('\n')
    .map((line) => {
      const { _row, timestamp, ...rest } = JSON.parse(line);
      return rest;
    });

test('the first line names the fields; quotes, commas and line breaks within them are the cell’s', () => {
  const text = 'timestamp,s,"a ""b"""\r\n2026-05-01T10:00:00Z,"x,\n""y""",2\r\n\r\n1777630000000,z,3\r\n';
  expect(stored(text)).toEqual([
    { s: 'x,\n"y"', 'a "b"': 2 },
    { s: 'z', 'a "b"': 3 },
  ]);
});

test('an empty cell is null, and in quotes the empty string', () => {
  const schema = schemaOf({ name: 's', type: 'string' });
  expect(stored('timestamp,s\n0,\n0,""\n', schema)).toEqual([{}, { s: '' }]);
});

describe('what a cell means is said by its field', () => {
  test.each([
    ['string', '007', '007'],
    ['string', '1.50', '1.50'],
    ['string', 'true', 'true'],
    ['double', '1.5', 1.5],
    ['integer', '42', 42],
    ['integer', '"42"', 42],
    ['boolean', 'false', false],
    ['json', '"{""a"":1.50}"', '{"a":1.50}'],
    ['json', '12', '12'],
    ['string[]', '"[""a"",""b""]"', ['a', 'b']],
    ['vector(2)', '"[1,2]"', [1, 2]],
  ] as const)('%s: %s', (type, cell, value) => {
    expect(stored(`timestamp,f\n0,${cell}\n`, schemaOf({ name: 'f', type }))).toEqual([{ f: value }]);
  });

  test('where no field does, by its form; quoted it is a string', () => {
    const { added } = csv('timestamp,a,b,c,d,e\n0,1,true,x,"1",9007199254740993\n');
    expect(added.map(({ type }) => type)).toEqual(['double', 'boolean', 'string', 'string', 'integer']);
  });
});

test('a cell that its field does not take is named', () => {
  const schema = schemaOf({ name: 'v', type: 'double' }, { name: 'b', type: 'boolean' });
  const { errors } = csv('timestamp,v,b\n0,1,true\n0,x,true\n0,1,yes\n,1,true\n', { schema });
  expect(errors.map(({ index, field, reason }) => [index, field, reason])).toEqual([
    [1, 'v', 'wrong-type'],
    [2, 'b', 'wrong-type'],
    [3, 'timestamp', 'missing'],
  ]);
});

test.each([
  ['nothing', ''],
  ['a line with more cells than names', 'timestamp,a\n0,1,2\n'],
  ['a quote that is not closed', 'timestamp,a\n0,"1\n'],
])('%s is malformed', (_, text) => {
  expect(() => csv(text)).toThrow(ApiError);
});

test('a name that stands twice is refused in each row, and too many rows are too many', () => {
  expect(csv('timestamp,a,a\n0,1,2\n').errors).toMatchObject([{ field: 'a', reason: 'duplicate-field' }]);
  expect(() => csv('timestamp\n0\n0\n', { limits: { request_rows_max: 1 } })).toThrow('request_rows_max');
});
