import { describe, expect, test } from 'vitest';
import { joinTokens, lex } from '../../src/query/sql/lex.ts';
import { tablesIn } from '../../src/query/sql/scan.ts';
import { checkTree } from '../../src/query/sql/tree.ts';

const query = (...lines: string[]) => ['QUERY id: 0', '  PROJECTION', '    LIST id: 1, nodes: 1', ...lines];
const table = (name: string) => ['  JOIN TREE', `    IDENTIFIER id: 3, identifier: ${name}`];
const column = '      IDENTIFIER id: 2, identifier: v';
const use = { first: 0, last: 0, parts: ['m'], place: 'from' as const, hasAlias: false };

describe('whatever the SQL looked like, what ClickHouse would read decides', () => {
  test('a table in the place of which a marker stands is the one that was found', () => {
    const before = query(column, ...table('m'));
    const after = query(column, '  JOIN TREE', '    IDENTIFIER id: 3, alias: m, identifier: __ts_0');
    expect(() => checkTree(before, after, [use])).not.toThrow();
    expect(() => checkTree(query(column, ...table('n')), after, [use])).toThrow('ambiguous');
    expect(() => checkTree(query(column.replace(/v$/, 'w'), ...table('m')), after, [use])).toThrow('ambiguous');
    expect(() => checkTree(before, after, [{ ...use, parts: ['other', 'm'] }])).toThrow('ambiguous');
    expect(() => checkTree(before, after, [use, use])).toThrow('ambiguous');
    expect(() => checkTree(before, after, [])).toThrow('ambiguous');
    expect(() => checkTree(before, [...after, '  WHERE', column], [use])).toThrow('ambiguous');
  });

  test.each<[string, string[], string]>([
    ['a table that was not found', query(column, ...table('ts_other.m')), 'ts_other.m is not a known table'],
    [
      'a table behind a join',
      query(
        column,
        '  JOIN TREE',
        '    JOIN id: 3, kind: INNER',
        '      RIGHT TABLE EXPRESSION',
        '        IDENTIFIER id: 4, identifier: ts_other.m',
      ),
      'is not a known table',
    ],
    [
      'a name that a common table expression may have, of another database',
      [
        'QUERY id: 0',
        '  WITH',
        '    LIST id: 1, nodes: 1',
        '      QUERY id: 2, is_subquery: 1, is_cte: 1, cte_name: ts_other.m',
        ...table('ts_other.m'),
      ],
      'is not a known table',
    ],
    ['a place that nobody knows', query(column, '  NEW CLAUSE', '    IDENTIFIER id: 3, identifier: x'), 'ambiguous'],
    ['a node that nobody knows', query('      DICTIONARY id: 2, name: d'), 'ambiguous'],
    ['a marker where a column stands', query('      IDENTIFIER id: 2, identifier: __ts_0'), 'ambiguous'],
    ['settings', query(column, '  SETTINGS max_threads=1'), 'SETTINGS'],
    ['PREWHERE', query(column, '  PREWHERE', '    CONSTANT id: 3'), 'PREWHERE'],
    ['a modifier of a table', query(column, '  JOIN TREE', '    IDENTIFIER id: 3, identifier: m, final: 1'), 'FINAL'],
    [
      'a function that is not listed',
      query('      FUNCTION id: 2, function_name: newFunction, function_type: ordinary'),
      'newFunction',
    ],
    [
      'a function whose alias is the name of another',
      query('      FUNCTION id: 2, alias: a, function_name: sum, function_name: dictGet, function_type: ordinary'),
      'dictGet',
    ],
    [
      'a table function that is not listed',
      query(column, '  JOIN TREE', '    TABLE_FUNCTION id: 3, table_function_name: newTable'),
      'newTable',
    ],
    [
      'a name among the arguments of a table function',
      query(
        column,
        '  JOIN TREE',
        '    TABLE_FUNCTION id: 3, table_function_name: numbers',
        '      ARGUMENTS',
        '        LIST id: 4, nodes: 1',
        '          IDENTIFIER id: 5, identifier: x',
      ),
      'must be values',
    ],
    [
      'another database behind IN',
      query(
        '      FUNCTION id: 2, function_name: in, function_type: ordinary',
        '        ARGUMENTS',
        '          LIST id: 3, nodes: 2',
        '            IDENTIFIER id: 4, identifier: v',
        '            IDENTIFIER id: 5, identifier: ts_other.m',
      ),
      'right side of IN',
    ],
  ])('%s is refused', (_, lines, words) => {
    expect(() => checkTree(lines, lines, [])).toThrow(words);
  });
});

test.each<[string, string[]]>([
  ['SELECT EXTRACT(YEAR FROM t), trim(BOTH x FROM y), position(a IN b), c IS NOT DISTINCT FROM d FROM m', ['m']],
  [
    'SELECT 1 FROM a, b AS c, d e JOIN f USING x, y LEFT ARRAY JOIN g, h ASOF JOIN i ON j = k',
    ['a', 'b', 'd', 'f', 'i'],
  ],
  ['WITH a AS (SELECT * FROM a), b AS (SELECT * FROM a, c) SELECT * FROM b, a', ['a', 'c']],
  ['WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT * FROM a) SELECT * FROM a', []],
  ['SELECT * FROM (WITH x AS (SELECT 1) SELECT * FROM x) JOIN x ON 1', ['x']],
  ['SELECT a IN b, c NOT IN (d.e), f IN (1, g), h IN tuple(i), j IN (SELECT k FROM l)', ['b', 'd.e', 'l']],
  ['FROM m SELECT x UNION ALL (SELECT y FROM n) EXCEPT SELECT * EXCEPT (z) FROM o', ['m', 'n', 'o']],
  ['WITH 1 AS st SELECT x FROM m ORDER BY x WITH FILL FROM st TO 3', ['m']],
  ['SELECT x AS fill FROM m ORDER BY fill WITH FILL FROM (SELECT min(x) FROM n)', ['m', 'n']],
  ['SELECT x.from, t.in, "from" FROM m WHERE t.join = 1', ['m']],
])('%s', (sql, expected) => {
  expect(tablesIn(lex(sql)).map(({ parts }) => parts.join('.'))).toEqual(expected);
});

test('what is sent on is what came, but for comments and the form of quoted names', () => {
  const sql = `SELECT a::Int8, x->x+1 /* c */, 'it''s \\' -- no', "q""d".1, \`b\\\`t\`, {p:Array(String)}, 1.5e-3,.5 -- end\nFROM m;;`;
  expect(joinTokens(lex(sql))).toBe(
    `SELECT a::Int8, x->x+1 , 'it''s \\' -- no', \`q"d\`.1, \`b\\\`t\`, {p:Array(String)}, 1.5e-3,.5 FROM m`,
  );
  // What a tree shows of strings has no lines of its own.
  expect(joinTokens(lex("SELECT 'a\\nb\nc\\\\d'"), 'plain')).toBe("SELECT 'a__b_c\\\\d'");
});
