import { expect, test } from 'vitest';
import { splitStatements } from '../../src/cli/split-statements.ts';

test.each<[string, string, string[]]>([
  ['statements end with a semicolon, the last one may go without', 'select 1; select 2', ['select 1', 'select 2']],
  [
    'semicolons in strings, names and comments are not ends',
    `select ';', "a;b", \`c;d\` -- e;f\n/* ; */; select 2`,
    [`select ';', "a;b", \`c;d\` -- e;f\n/* ; */`, 'select 2'],
  ],
  ['a dollar-quoted body is one piece', 'do $x$ begin; end; $x$; select 2', ['do $x$ begin; end; $x$', 'select 2']],
  ['a quote within a quote', "select 'it''s;', 'a\\';b'; select 2", ["select 'it''s;', 'a\\';b'", 'select 2']],
  ['what is only comment or space is no statement', '-- nothing\n;\n\n; select 1;\n-- the end\n', ['select 1']],
])('%s', (_, text, statements) => {
  expect(splitStatements(text)).toEqual(statements);
});
