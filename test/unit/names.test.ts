import { expect, test } from 'vitest';
import { logicalName, physicalName, qualifiedName, quoteName, quoteString, slug } from '../../src/core/identifiers.ts';

test.each([
  ['a', true],
  ['0', true],
  ['a-b_c', true],
  ['a'.repeat(63), true],
  ['a'.repeat(64), false],
  ['', false],
  ['-a', false],
  ['_a', false],
  ['A', false],
  ['a.b', false],
  ['a}b', false],
  ['a/b', false],
  ['a\n', false],
  ['ü', false],
])('%j is a slug: %s', (name, is) => {
  expect(slug.safeParse(name).success).toBe(is);
});

test('[elsewhere 13] quotes and backslashes are both escaped', () => {
  expect(quoteName('a`b\\c')).toBe('`a\\`b\\\\c`');
  expect(quoteString("a'b\\c")).toBe("'a\\'b\\\\c'");
});

test('two pairs of names never share a table', () => {
  expect(qualifiedName({ dataset: 'a_b', physical: 'c' })).not.toBe(qualifiedName({ dataset: 'a', physical: 'b_c' }));
});

test('each life of a table has a name of its own, which leads back to the one that clients use', () => {
  expect([1, 2, 3].map((life) => physicalName('m', life))).toEqual(['m', 'm.2', 'm.3']);
  expect(['m', 'm.2'].map(logicalName)).toEqual(['m', 'm']);
});
