import { Script } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { readConfig } from '../../src/core/config.ts';
import { continueTrace } from '../../src/core/trace.ts';
import { parseBatch } from '../../src/ingest/batch-format.ts';
import { hotFilter } from '../../src/query/hot/filter.ts';
import { hotJson } from '../../src/query/hot/values.ts';
import { compareValues, type HotValue } from '../../src/query/request/compare-values.ts';
import type { Condition } from '../../src/query/request/filters.ts';
import type { QueryPlan } from '../../src/query/request/parse.ts';
import { jsonAnswer } from '../../src/query/response/json.ts';
import { compileSql } from '../../src/query/sql/compile.ts';
import type { Table } from '../../src/schema/table.ts';
import { parseTimestampText } from '../../src/schema/timestamp.ts';
import type { Field } from '../../src/schema/types.ts';
import { environment, prepare, schemaOf } from './schema/support.ts';

/*
 * What is read here is anybody's, and the instance that reads it is everybody's. Each input is so large that reading it once
 * takes a second or so, and reading it again for each of its characters would take days: no measure of speed is needed to tell
 * one from the other.
 */
const limit_ms = 60_000;

function ends<Result>(work: () => Result): Result {
  const done: { result?: Result } = {};
  const run = () => {
    done.result = work();
  };
  new Script('run()').runInNewContext({ run }, { timeout: limit_ms });
  return done.result as Result;
}

const { limits } = readConfig(environment);
const large = 2 ** 20;
const a = Buffer.alloc(large, 'a').toString('latin1');
const ab = Buffer.alloc(large, 'ab').toString('latin1');
const pairs = '😀'.repeat(large / 2);

const fields: Field[] = [
  { name: 's', type: 'string' },
  { name: 'n', type: 'integer' },
  { name: 'l', type: 'string[]' },
];
const table = { schema: schemaOf(...fields) } as Table;

/** How many of the values a condition finds, as it is evaluated without ClickHouse. */
function found(condition: Condition, values: HotValue[]): number | undefined {
  const plan = { filters: [condition], partitionKey: {} } as unknown as QueryPlan;
  const holds = hotFilter(plan, table, 1);
  return holds && values.filter((value) => holds(new Map([[condition.column, value]]), {})).length;
}

describe('a condition on the tail reads each text once', () => {
  const half = large / 4;
  test.each<[Condition['op'], string, string, number]>([
    ['contains', `b${a.slice(0, half)}`, a, 0],
    ['contains', `${a.slice(0, half)}b`, a, 0],
    ['contains', `${ab.slice(0, half)}b`, ab, 0],
    ['contains', `${a.slice(0, half)}b${a.slice(0, half)}`, a, 0],
    ['notContains', `b${a.slice(0, half)}`, a, 1],
    ['startsWith', `${a.slice(0, half)}b`, a, 0],
    ['endsWith', `b${a.slice(0, half)}`, a, 0],
    ['like', '%a%a%a%b', a, 0],
    ['like', '%a%a%a%a%a%a%a%a%a%a%b', a, 0],
    ['like', `%${'a%'.repeat(half)}b`, a, 0],
    ['like', `%${a.slice(0, half)}b%`, a, 0],
    ['like', `%b${a.slice(0, half)}%`, a, 0],
    ['like', `%${'%_'.repeat(half)}%b`, a, 0],
    ['like', '%a_a_a_a_a_a_a_b%', a, 0],
    ['like', `_${a.slice(0, half)}%${'_'.repeat(half)}b`, a, 0],
    ['like', `%${'😀_'.repeat(12)}b%`, pairs, 0],
    ['like', `%${'\\%'.repeat(half)}`, a, 0],
    ['notLike', '%a%a%a%b', a, 1],
    ['eq', `${a.slice(1)}b`, a, 0],
    ['lt', `${a.slice(1)}b`, a, 1],
    ['gte', a, a, 1],
  ])('%s, case %#', (op, value, text, expected) => {
    expect(ends(() => found({ column: 's', op, value }, [text]))).toBe(expected);
  });

  test('and what it looks for once, for however many rows', () => {
    const rows = Array.from({ length: 200_000 }, (_, n) => `${n}`);
    const list = Array.from({ length: 200_000 }, (_, n) => `${n * 2}`);
    expect(ends(() => found({ column: 's', op: 'in', value: list }, rows))).toBe(100_000);
    expect(ends(() => found({ column: 's', op: 'notIn', value: list }, rows))).toBe(100_000);
    expect(ends(() => found({ column: 'n', op: 'in', value: list }, rows.map(BigInt)))).toBe(100_000);
    for (const op of ['eq', 'lt', 'contains', 'like', 'startsWith'] as const) {
      expect(ends(() => found({ column: 's', op, value: `${pairs}x` }, rows))).toBe(op === 'lt' ? 200_000 : 0);
    }
    expect(ends(() => found({ column: 'l', op: 'hasAll', value: list }, [rows, list, ['0']]))).toBe(1);
    expect(ends(() => found({ column: 'l', op: 'hasAny', value: ['x', ...list] }, [rows, ['1']]))).toBe(1);
  });

  test('a pattern of which a text would be read more than once is ClickHouse’s', () => {
    const pattern = `%${'a_'.repeat(17)}b%`;
    expect(ends(() => found({ column: 's', op: 'like', value: pattern }, [a]))).toBeUndefined();
    for (const op of ['matches', 'ilike'] as const) {
      expect(found({ column: 's', op, value: 'a' }, ['a'])).toBeUndefined();
    }
  });

  test('so is what would be read too often', () => {
    const condition: Condition = { column: 's', op: 'contains', value: 'x' };
    const planOf = (count: number) => {
      return {
        filters: [{ or: Array.from({ length: count }, () => condition) }],
        partitionKey: {},
      } as unknown as QueryPlan;
    };
    expect(hotFilter(planOf(8), table, limits.tail_bytes_max)).toBeDefined();
    expect(hotFilter(planOf(9), table, limits.tail_bytes_max)).toBeUndefined();
  });

  test('texts are put in order by what they differ in first', () => {
    expect(ends(() => [...Array(50)].every(() => compareValues(`${pairs}a`, `${pairs}b`) < 0))).toBe(true);
  });
});

describe('a body is read once', () => {
  const names = (count: number, value: string) => {
    return Array.from({ length: count }, (_, n) => `"f${n}":${value}`).join(',');
  };
  const wide = { row_bytes_max: 2 ** 30, table_fields_max: 1_000_000 };

  test('whatever its members are called', () => {
    const text = `{"rows":[],${names(500_000, '1')}}`;
    expect(() => ends(() => parseBatch(text, limits))).toThrow('Unrecognized');
    expect(() => ends(() => parseBatch(text.replace('"f1"', '"rows"'), limits))).toThrow('named twice');
  });

  test('however many of them no field is for', () => {
    const nulls = ends(() => prepare(`{"timestamp":0,${names(500_000, 'null')}}`, { limits: wide }));
    expect(nulls).toMatchObject({ rows: 1, errorsTotal: 0, added: [] });
    const twice = ends(() => prepare(`{"timestamp":0,${names(500_000, 'null')},"f7":1}`, { limits: wide }));
    expect(twice.errors).toMatchObject([{ reason: 'duplicate-field', field: 'f7' }]);
    const csv = `timestamp,${Array.from({ length: 100_000 }, (_, n) => `f${n}`).join(',')}\n${`0${','.repeat(100_000)}\n`.repeat(10)}`;
    expect(ends(() => prepare(csv, { format: 'csv', limits: wide }))).toMatchObject({ rows: 10, errorsTotal: 0 });
  });

  test('however many of them are new', () => {
    const rows = ends(() => prepare(`{"timestamp":0,${names(300_000, '1')}}`, { limits: wide }));
    expect(rows).toMatchObject({ rows: 1, errorsTotal: 0 });
    expect(rows.added).toHaveLength(300_000);
  });

  test('however many of them turn out to be integers', () => {
    const first = `{"timestamp":0,${names(200_000, '1')}}`;
    const all = ends(() =>
      prepare(`${first}\n{"timestamp":0,${names(200_000, '9007199254740993')}}`, { format: 'ndjson', limits: wide }),
    );
    expect(all).toMatchObject({ rows: 2, errorsTotal: 0 });
    expect(new Set(all.added.map(({ type }) => type))).toEqual(new Set(['integer']));
    // Each of them only once the one before it has: until then a row with fractions of both is accepted.
    const chain = Array.from({ length: 10_000 }, (_, n) => [
      `{"timestamp":0,"f${n}":0.5,"f${n + 1}":0.5}`,
      `{"timestamp":0,"f${n + 1}":1}`,
      `{"timestamp":0,"f${n + 1}":9007199254740993}`,
    ]);
    const text = [`{"timestamp":0,"f0":1,"x":"${a}"}`, '{"timestamp":0,"f0":9007199254740993}', ...chain.flat()];
    const rows = ends(() => prepare(text.join('\n'), { format: 'ndjson', limits: wide }));
    expect(rows.rows + rows.errorsTotal).toBe(30_002);
  });

  test.each<[string, () => unknown]>([
    [
      'an integer of a megabyte',
      () =>
        prepare(`{"timestamp":0,"i":${'9'.repeat(large)}}`, {
          schema: schemaOf({ name: 'i', type: 'integer' }),
          limits: wide,
        }),
    ],
    ['a new number of a megabyte', () => prepare(`{"timestamp":0,"i":1${'0'.repeat(large)}}`, { limits: wide })],
    ['a name', () => prepare(`{"timestamp":0,"${'.size1'.repeat(large / 8)}x":1}`, { limits: wide })],
    ['a time', () => parseTimestampText(`2026-05-01T10:00:00.${'1'.repeat(large)}`)],
    ['a trace', () => continueTrace(`00-${'0'.repeat(large)}`, 0)],
    ['CSV in quotes', () => prepare(`timestamp,s\n0,"${'""'.repeat(large / 2)}"`, { format: 'csv', limits: wide })],
    ['escapes', () => prepare(`{"timestamp":0,"s":"${'\\u0061'.repeat(large / 8)}"}`, { limits: wide })],
  ])('%s', (_, work) => {
    ends(work);
  });
});

describe('SQL is read once', () => {
  const count = large / 8;
  test.each<[string, string]>([
    ['parameters', `SELECT ${'{a:Int8},'.repeat(count)}1`],
    ['brackets', `SELECT ${'(),'.repeat(count)}1`],
    ['brackets that do not close', `SELECT ${'('.repeat(count)}`],
    ['deep brackets', `SELECT ${`${'('.repeat(199)}1${')'.repeat(199)},`.repeat(count / 400)}1`],
    ['IN', `SELECT 1${' IN ('.repeat(190)}${'a,'.repeat(count)}1${')'.repeat(190)}`],
    [
      'definitions',
      `WITH ${Array.from({ length: count / 8 }, (_, n) => `c${n} AS (SELECT 1)`).join(',')} SELECT 1 FROM c1`,
    ],
    ['tables', `SELECT 1 FROM ${'m,'.repeat(count)}m`],
    ['long names', `SELECT 1 FROM ${'m.'.repeat(count)}m`],
    ['quotes', `SELECT '${"''".repeat(count)}`],
    ['names in quotes', `SELECT \`${'``'.repeat(count)}`],
    ['comments', `SELECT 1 ${'/* */'.repeat(count)}`],
    ['a comment without an end', `SELECT 1 /*${'*'.repeat(count)}`],
    ['blanks', `SELECT ${' '.repeat(large)}1`],
    ['numbers', `SELECT ${'1e'.repeat(count)}`],
    ['backslashes', `SELECT '${'\\\\'.repeat(count)}`],
  ])('%s', (_, sql) => {
    ends(() => {
      try {
        compileSql(sql, 'demo', { ...limits, sql_chars_max: 2 ** 30 });
      } catch (error) {
        // Refused is as good as read; not ended is not.
        if (!(error instanceof Error) || error.name !== 'ApiError') throw error;
      }
    });
  });
});

test(
  'an answer is read once, also where a row of it is long',
  async () => {
    const encoder = new TextEncoder();
    async function* answer() {
      yield encoder.encode(
        '{\n\t"meta":\n\t[\n\t\t{\n\t\t\t"name": "s",\n\t\t\t"type": "String"\n\t\t}\n\t],\n\n\t"data":\n\t[\n\t\t{\n\t\t\t"s": "',
      );
      for (let n = 0; n < 40_000; n += 1) yield await Promise.resolve(encoder.encode(a.slice(0, 1_024)));
      yield encoder.encode(
        '"\n\t\t},\n\t\t{\n\t\t\t"s": "b"\n\t\t}\n\t],\n\n\t"rows": 2,\n\n\t"statistics":\n\t{\n\t\t"elapsed": 0.1,\n\t\t"rows_read": 2\n\t}\n}\n',
      );
    }
    let text = '';
    for await (const part of jsonAnswer(answer(), {
      isHiding: true,
      begin: () => ({ begun: 1 }),
      end: ({ rows }) => ({ rows }),
    }))
      text += part;
    const parsed = JSON.parse(`${text}`.replace(',"rows":2}', ',"count":2}'));
    expect(parsed).toMatchObject({ count: 2, rows: [{ s: expect.stringMatching(/^a+$/) }, { s: 'b' }] });
    expect(parsed.rows[0].s).toHaveLength(40_000 * 1_024);
  },
  limit_ms,
);

test('the buffer’s own JSON is ClickHouse’s, and leaves what only looks like an escape', () => {
  expect(hotJson('string', '\\u00ab \u001f \\\\u00ab')).toBe('"\\\\u00ab \\u001F \\\\\\\\u00ab"');
});
