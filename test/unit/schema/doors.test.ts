import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readConfig } from '../../../src/core/config.ts';
import { CsvReader } from '../../../src/schema/csv-reader.ts';
import { prepareRows } from '../../../src/schema/prepare.ts';
import { environment, prepare, schemaOf, store } from './support.ts';

const { limits } = readConfig(environment);

describe('numbers are what they were sent as, or refused', () => {
  test.each([
    ['double', '1e-400', 'out-of-range'],
    ['double', '-1e-99999', 'out-of-range'],
    ['double', '0e-400', '0e-400'],
    ['double', '3e-324', '3e-324'],
    ['double', '9007199254740993.0', 'not-exact'],
    ['double', '9007199254740993.5', 'not-exact'],
    ['double', '9.007199254740993e15', 'not-exact'],
    ['double', '12345678901234567.89', 'not-exact'],
    ['double', '9007199254740994.0', '9007199254740994.0'],
    ['double', '9.9999999999999992e+22', '9.9999999999999992e+22'],
    ['double', '1e23', '1e23'],
    ['double', '0.1234567890123456789', '0.1234567890123456789'],
    ['integer', '9007199254740993.0', '9007199254740993'],
    ['integer', '9007199254740993e0', '9007199254740993'],
    ['integer', '9007199254740990.2', 'not-exact'],
    ['integer', '0.99999999999999999999', 'not-exact'],
    ['integer', '1e-400', 'not-exact'],
    ['integer', '1e19', 'out-of-range'],
    ['integer', '1e400', 'not-exact'],
    ['integer', '"\\u0031"', '1'],
  ] as const)('%s %s → %s', (type, json, stored) => {
    expect(store(type, json)).toBe(stored);
  });

  test('a double with more digits than it can have is out of range', () => {
    expect(store('double', `0.${'0'.repeat(400)}1`)).toBe('out-of-range');
  });
});

describe('times', () => {
  test.each([
    ['"2026-05-01T10:00:00\\u002b02:00"', '"2026-05-01 08:00:00.000"'],
    ['"2026\\u002d05-01 10:00:00"', '"2026-05-01 10:00:00.000"'],
    ['"2026-05-01T10:00:00+23:59"', '"2026-04-30 10:01:00.000"'],
    ['"2026-05-01T10:00:00+24:00"', 'bad-timestamp'],
    ['"2026-05-01T10:00:00-00:60"', 'bad-timestamp'],
    ['"2026-05-01T10:00:00+99:99"', 'bad-timestamp'],
    ['1777629600', 'bad-timestamp'],
    ['86400000', '"1970-01-02 00:00:00.000"'],
    ['31536000000', '"1971-01-01 00:00:00.000"'],
  ])('%s → %s', (json, stored) => {
    expect(store('timestamp', json)).toBe(stored);
  });
});

describe('a string that holds JSON is that JSON in a field of type json', () => {
  test.each([
    ['{"a":1}', '{"a":1}'],
    ['"{\\"a\\": 1.50}"', '{"a": 1.50}'],
    ['"\\"a\\""', '"a"'],
    ['"\\"1\\""', '"1"'],
    ['"1"', '1'],
    ['" [1] "', '[1]'],
    ['"null"', '"null"'],
    ['"a"', '"a"'],
    ['""', '""'],
    ['"[1"', '"[1"'],
    ['"\\ufeff1"', '"\\ufeff1"'],
    ['"\\"\\ud83d\\""', '"\\"\\ud83d\\""'],
  ])('%s → %s', (sent, stored) => {
    expect(store('json', sent)).toBe(JSON.stringify(stored));
  });

  test('but a cell of CSV is JSON already', () => {
    const schema = schemaOf({ name: 'j', type: 'json' });
    const cell = `"${JSON.stringify('1').replaceAll('"', '""')}"`;
    const { lines } = prepareRows(`timestamp,j\n0,${cell}\n`, 'csv', schema, limits);
    expect(lines[0]).toContain(`"j":${JSON.stringify(JSON.stringify('1'))}`);
  });
});

/** What every row has besides its time. */
const cells = (text: string) =>
  prepare(text, { format: 'csv' })
    .payload.split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { _row, timestamp, ...rest } = JSON.parse(line);
      return rest;
    });

describe('lines of CSV end as each of them does', () => {
  test.each([
    ['LF and CR LF', 'timestamp,a,b\n0,NYC,1\r\n0,LA,\r\n', [{ a: 'NYC', b: 1 }, { a: 'LA' }]],
    ['CR LF and LF', 'timestamp,a\r\n0,x\r\n0,d\n', [{ a: 'x' }, { a: 'd' }]],
    ['CR', 'timestamp,a\r0,x\r0,y\r', [{ a: 'x' }, { a: 'y' }]],
    ['none at the end', 'timestamp,a\r\n0,x', [{ a: 'x' }]],
    ['within quotes they are the cell’s', 'timestamp,a\n0,"x\r\ny\rz\n"\r\n', [{ a: 'x\r\ny\rz\n' }]],
  ])('%s', (_, text, rows) => {
    expect(cells(text)).toEqual(rows);
  });

  test('and a text that another reader takes is read the same', () => {
    const cell = fc.oneof(fc.stringMatching(/^[a-z "\n\r,]{0,6}$/), fc.constantFrom('', '1', '\r\n', '""', 'é😀'));
    const row = fc.array(cell, { minLength: 2, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 5 }), fc.constantFrom('\n', '\r\n'), (rows, end) => {
        const written = rows.map((each) => each.map((text) => `"${text.replaceAll('"', '""')}"`).join()).join(end);
        const reader = new CsvReader(written);
        const found: string[][] = [];
        for (let each = reader.next(); each !== undefined; each = reader.next()) {
          expect(each.problem).toBeUndefined();
          found.push(each.cells.map(({ text }) => text));
        }
        expect(found).toEqual(rows);
        expect(found).toEqual(parse(written, { relax_column_count: true, record_delimiter: [end] }));
      }),
    );
  });
});

test('a new column of CSV whose cells are not all numbers or booleans is text, exactly as it stands', () => {
  const text = 'timestamp,zip,on,n\n0,02134,true,1\n0,K1A,false,2.5\n0,99999,maybe,\n';
  expect(prepare(text, { format: 'csv' }).added).toEqual([
    { name: 'zip', type: 'string' },
    { name: 'on', type: 'string' },
    { name: 'n', type: 'double' },
  ]);
  const other = cells('timestamp,zip\n0,10\n0,1.50\n0,007\n0,true\n');
  expect(other.map(({ zip }) => zip)).toEqual(['10', '1.50', '007', 'true']);
});

test('a list after empty ones gives them their type', () => {
  const rows = ['[]', '["a"]', '[ ]'].map((list) => `{"timestamp":0,"t":${list},"u":[],"n.x":[]}`).join('\n');
  const more = '\n{"timestamp":0,"n.x":["a"],"u":[1]}';
  expect(prepare(rows + more, { format: 'ndjson' })).toMatchObject({
    errors: [],
    rows: 4,
    added: [
      { name: 't', type: 'string[]' },
      { name: 'u', type: 'json' },
      { name: 'n.x', type: 'json' },
    ],
  });
});

describe('a line that is no row is set aside where rows are, with its text and its line', () => {
  const asideOf = (text: string, format: 'ndjson' | 'csv') => {
    const { lines, refused } = prepareRows(text, format, schemaOf(), limits, { keepRefused: 9, setsAside: true });
    return [lines.length, ...refused.map(({ index, line, reason, source }) => [index, line, reason, source])];
  };
  test('of NDJSON', () => {
    const text = '{"timestamp":0}\n\n{"timestamp":0,"v":NaN}\n{"timestamp":0,"v":[1,\n{"timestamp":0}\nno\n{"v":1}';
    expect(asideOf(text, 'ndjson')).toEqual([
      2,
      [1, 3, 'malformed', '{"timestamp":0,"v":NaN}'],
      [2, 4, 'malformed', '{"timestamp":0,"v":[1,'],
      [4, 6, 'malformed', 'no'],
      [5, 7, 'missing', '{"v":1}'],
    ]);
  });
  test('of CSV', () => {
    const text = 'timestamp,a\n0,1,2\n0,"x\ny"\n0,5" disk\n0,"x"y\n0,z\n0\n';
    expect(asideOf(text, 'csv')).toEqual([
      2,
      [0, 2, 'malformed', '0,1,2'],
      [2, 5, 'malformed', '0,5" disk'],
      [3, 6, 'malformed', '0,"x"y'],
      [5, 8, 'malformed', '0'],
    ]);
  });
});

test.each([
  ['timestamp;a\n0;1\n', /separated by semicolons/],
  ['timestamp\ta\n0\t1\n', /separated by tabs/],
  ['timestamp|a\n0|1\n', /separated by vertical bars/],
  ['timestamp,a\n0,x\n0,"y\n0,z\n', /line 3: a quote is opened there and not closed/],
  ['timestamp,a\r\n0,x\r\n0,1,2\r\n', /line 3: the row has 3 cells and the first line 2 names/],
])('CSV that cannot be read says what is wrong: %j', (text, problem) => {
  expect(() => prepare(text, { format: 'csv' })).toThrow(problem);
});
