import { describe, expect, test } from 'vitest';
import { readConfig } from '../../../src/core/config.ts';
import { ApiError } from '../../../src/core/errors.ts';
import { type DeclaredSchema, mergeSchema } from '../../../src/schema/declared.ts';
import { clickhouseType } from '../../../src/schema/types.ts';
import { environment, prepare, schemaOf } from './support.ts';

const row = (members: string, time = 0) => `{"timestamp":${time}${members === '' ? '' : `,${members}`}}`;

describe('rows come as an object, a list or by line', () => {
  test.each([
    ['an object', row('"v":1'), 'json', 1],
    ['a list', ` [ ${row('"v":1')} , ${row('')} ] `, 'json', 2],
    ['an empty list', '[]', 'json', 0],
    ['a byte order mark in front', `\ufeff${row('')}`, 'json', 1],
    ['lines', `${row('')}\n${row('')}\n`, 'ndjson', 2],
    ['lines with empty ones and carriage returns', `\r\n${row('')}\r\n\r\n${row('')}`, 'ndjson', 2],
  ] as const)('%s', (_, text, format, rows) => {
    expect(prepare(text, { format })).toMatchObject({ rows, errorsTotal: 0 });
  });

  test.each([
    ['nothing', ''],
    ['white space', ' \n '],
    ['two objects where one is expected', `${row('')}${row('')}`],
    ['text after the list', `[${row('')}]x`],
    ['a comma at the end', `[${row('')},]`],
    ['a list that is not closed', `[${row('')}`],
    ['single quotes', "{'timestamp':0}"],
    ['a name without quotes', '{timestamp:0}'],
    ['a control character in a string', row('"s":"\n"')],
    ['an unknown escape', row('"s":"\\x41"')],
    ['a number with a leading zero', row('"v":01')],
    ['NaN', row('"v":NaN')],
    ['Infinity', row('"v":-Infinity')],
    ['nesting without end', row(`"j":${'['.repeat(100)}${']'.repeat(100)}`)],
  ])('%s is malformed, and says where', (_, text) => {
    expect(() => prepare(text)).toThrow(ApiError);
    expect(() => prepare(text)).toThrow(/The body is/);
  });

  test('a syntax error is reported with line and column', () => {
    expect(() => prepare(`${row('')}\n{"timestamp":0,}`, { format: 'ndjson' })).toThrow('line 2, column 16');
  });
});

test('each stored line begins with its place, in the order of acceptance', () => {
  const { payload } = prepare(`[${row('"v":1')},${row('"v":"x"')},${row('"v":2')}]`, {
    schema: schemaOf({ name: 'v', type: 'double' }),
  });
  expect(payload).toBe(
    '{"_row":0,"timestamp":"1970-01-01 00:00:00.000","v":1}\n{"_row":1,"timestamp":"1970-01-01 00:00:00.000","v":2}\n',
  );
});

test('an invalid row is named by index, field and reason; a hundred are listed, all are counted', () => {
  const one = prepare(`[${row('')},7,{"v":1},${row('"a":1,"\\u0061":2')},${row('"_x":1')},${row('"n":null,"n":1')}]`);
  expect(one.errors.map(({ index, field, reason }) => [index, field, reason])).toEqual([
    [1, null, 'not-an-object'],
    [2, 'timestamp', 'missing'],
    [3, 'a', 'duplicate-field'],
    [4, '_x', 'bad-name'],
    [5, 'n', 'duplicate-field'],
  ]);
  const many = prepare(`[${Array.from({ length: 150 }, () => '{}').join()}]`);
  expect(many).toMatchObject({ rows: 0, errorsTotal: 150 });
  expect(many.errors).toHaveLength(100);
});

test.each(['', 'a.null', 'a.size0', 'a.b.size', '_a', 'a\u0000b', 'x'.repeat(129)])(
  'a field cannot be named %j',
  (name) => {
    expect(prepare(row(`${JSON.stringify(name)}:1`)).errors).toMatchObject([{ reason: 'bad-name' }]);
  },
);

test('a field cannot come after one that has its name and a dot in front; the other way round it can', () => {
  expect(prepare(row('"a.b":1,"a":1')).errors).toMatchObject([{ field: 'a', reason: 'bad-name' }]);
  expect(prepare(row('"a":1,"a.b":1,"ab":1')).errors).toEqual([]);
});

test('names that mean something to JavaScript or SQL are only names', () => {
  const names = ['constructor', 'hasOwnProperty', 'toString', 'a`b', "a'b", 'a\\b', 'a', 'a.b', 'ü', 'A', '\u2028'];
  const { added, errors } = prepare(row(names.map((name) => `${JSON.stringify(name)}:1`).join()));
  expect(errors).toEqual([]);
  expect(added.map(({ name }) => name)).toEqual(names);
});

describe('fields that no schema names get the type of their first value', () => {
  test.each([
    ['1', 'double'],
    ['0.5', 'double'],
    ['9007199254740993', 'integer'],
    ['9007199254740992', 'integer'],
    ['100000000000000000000', 'double'],
    ['"s"', 'string'],
    ['"2026-05-01T10:00:00Z"', 'string'],
    ['true', 'boolean'],
    ['["a"]', 'string[]'],
    ['[]', 'json'],
    ['[1,2]', 'json'],
    ['["a",1]', 'json'],
    ['{"a":1}', 'json'],
  ])('%s → %s', (json, type) => {
    expect(prepare(row(`"f":${json}`)).added).toEqual([{ name: 'f', type }]);
  });

  test('a list with a dot in its name is json: ClickHouse would want all lists of that name of one length', () => {
    expect(prepare(row('"n":["a"],"n.x":["a"]')).added).toEqual([
      { name: 'n', type: 'string[]' },
      { name: 'n.x', type: 'json' },
    ]);
  });

  test('null has no type', () => {
    expect(prepare(row('"f":null'))).toMatchObject({ added: [], errors: [], rows: 1 });
  });

  test('a number that only 64 bits hold makes the field an integer, also after smaller ones', () => {
    const text = `[${row('"f":1')},${row('"f":9007199254740993')}]`;
    expect(prepare(text)).toMatchObject({ added: [{ name: 'f', type: 'integer' }], errors: [], rows: 2 });
  });

  test('after a fraction the field is a double, and such a number is refused', () => {
    const text = `[${row('"f":0.5')},${row('"f":9007199254740993')}]`;
    expect(prepare(text)).toMatchObject({
      added: [{ name: 'f', type: 'double' }],
      errors: [{ index: 1, field: 'f', reason: 'not-exact' }],
    });
  });
});

test('a refused row leaves no trace: no field, no type, no time', () => {
  const text = `[${row('"f":"text","timestamp2":"x","v":"no"', 99_999_999_999)},${row('"f":1', 1)}]`;
  expect(prepare(text, { schema: schemaOf({ name: 'v', type: 'double' }) })).toMatchObject({
    added: [{ name: 'f', type: 'double' }],
    rows: 1,
    timeMin_ms: 1,
    timeMax_ms: 1,
    windows: [0],
    errors: [{ index: 0, field: 'v', reason: 'wrong-type' }],
  });
});

test('a key field cannot be null or absent', () => {
  const schema = { ...schemaOf({ name: 'host', type: 'string' }), keyFields: ['host'] };
  const { errors, rows } = prepare(`[${row('"host":"a"')},${row('')},${row('"host":null')}]`, { schema });
  expect(rows).toBe(1);
  expect(errors.map(({ index, reason }) => [index, reason])).toEqual([
    [1, 'missing'],
    [2, 'missing'],
  ]);
});

test('the range of times and the partitions it takes are known', () => {
  const text = [0, 86_400_000, 86_399_999, 1].map((time) => row('', time)).join('\n');
  expect(prepare(text, { format: 'ndjson' })).toMatchObject({ timeMin_ms: 0, timeMax_ms: 86_400_000, windows: [0, 1] });
});

describe('limits', () => {
  test('rows of a request', () => {
    expect(() => prepare(`[${row('')},${row('')}]`, { limits: { request_rows_max: 1 } })).toThrow('request_rows_max');
  });

  test('bytes of a row, counted as UTF-8', () => {
    const text = row('"s":"üüüü"');
    const bytes = new TextEncoder().encode(text).length;
    expect(prepare(text, { limits: { row_bytes_max: bytes } }).errors).toEqual([]);
    expect(prepare(text, { limits: { row_bytes_max: bytes - 1 } }).errors).toMatchObject([{ reason: 'too-large' }]);
  });

  test('fields of a table', () => {
    const limits = { table_fields_max: 2 };
    expect(prepare(row('"a":1'), { limits }).errors).toEqual([]);
    expect(prepare(row('"a":1,"b":1'), { limits }).errors).toMatchObject([{ field: 'b', reason: 'too-many-fields' }]);
  });
});

test.each<[string[], string | undefined]>([
  [['9223372036854775807'], 'integer'],
  [['13835058055282163712'], 'unsigned'],
  [['1', '1152921504606846976'], 'integer'],
  [['1', '1152921504606846976', '13835058055282163712'], 'unsigned'],
  [['9007199254740992', '18446744073709551615'], 'unsigned'],
  [['-1', '13835058055282163712'], undefined],
  [['18446744073709551616'], undefined],
  [['1180591620717411303424'], undefined],
  [['10000000000000000000000'], 'double'],
  [['1180591620717411300000'], 'double'],
])('a new field with the whole numbers %j is %s', (numbers, type) => {
  const { added, errors } = prepare(numbers.map((each) => `{"timestamp":0,"f":${each}}`).join('\n'), {
    format: 'ndjson',
  });
  expect(errors.length > 0 ? undefined : added.find(({ name }) => name === 'f')?.type).toBe(type);
});

describe('a field can list its values, and be required', () => {
  const schema = schemaOf(
    { name: 'code', type: 'integer', values: ['0', '1', '2'], required: true },
    { name: 'level', type: 'string', values: ['"INFO"', '"ERROR"'] },
    { name: 'message', type: 'string', default: '""', since: 1, required: true },
  );

  test.each<[string, [string | null, string] | undefined]>([
    ['"code":0,"level":"ERROR"', undefined],
    ['"code":2', undefined],
    ['"code":"1","level":null', undefined],
    ['"code":1.0', undefined],
    ['"code":1,"level":"INF\\u004f"', undefined],
    ['"code":3', ['code', 'not-allowed']],
    ['"code":-0,"level":"INFO"', undefined],
    ['"code":1,"level":"info"', ['level', 'not-allowed']],
    ['"code":1,"level":""', ['level', 'not-allowed']],
    ['"level":"INFO"', ['code', 'missing']],
    ['"code":null', ['code', 'missing']],
    ['"code":true', ['code', 'wrong-type']],
  ])('%s', (members, expected) => {
    // The second row has the order of the first one, which the fast path reads.
    const { errors } = prepare(`[${row('"code":0,"level":"INFO"')},${row(members)},${row(members)}]`, { schema });
    expect(errors.map(({ field, reason }) => [field, reason])).toEqual(
      expected === undefined ? [] : [expected, expected],
    );
  });

  test('null stands for the default of a required field', () => {
    const sent = ['"code":1,"message":null', '"code":1', '"code":1,"message":"m"', '"message":null,"code":1'];
    const { payload } = prepare(`[${sent.map((members) => row(members)).join(',')}]`, { schema });
    const stored = payload.trimEnd().split('\n');
    expect(stored.map((line) => JSON.parse(line).message)).toEqual(['', '', 'm', '']);
  });

  test('in CSV too', () => {
    const text = 'timestamp,code,level\n0,0,INFO\n0,7,INFO\n0,1,\n0,,INFO\n0,1,warn\n';
    const { errors } = prepare(text, { schema, format: 'csv' });
    expect(errors.map(({ index, field, reason }) => [index, field, reason])).toEqual([
      [1, 'code', 'not-allowed'],
      [3, 'code', 'missing'],
      [4, 'level', 'not-allowed'],
    ]);
  });
});

test('values are declared for types whose equal values have one text', () => {
  const { limits } = readConfig(environment);
  const declare = (field: DeclaredSchema['fields'][number]) =>
    mergeSchema(undefined, { fields: [field], defaults: [] }, limits).schema.fields[1];
  expect(declare({ name: 'a', type: 'integer', values: [1, '9007199254740993'] })?.values).toEqual([
    '1',
    '9007199254740993',
  ]);
  expect(declare({ name: 'a', type: 'string', values: ['ü"'] })?.values).toEqual(['"ü\\""']);
  expect(() => declare({ name: 'a', type: 'integer', values: ['x'] })).toThrow(/integer does not take/);
  expect(() => declare({ name: 'a', type: 'double', values: [1] })).toThrow(/can be listed/);
  expect(clickhouseType({ name: 'a', type: 'integer', required: true }, schemaOf())).toBe('Int64');
});
