import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const tests = join(import.meta.dirname, '..');

test('everything that went wrong elsewhere has a test here that is named for it', () => {
  const list = readFileSync(join(tests, 'elsewhere.md'), 'utf8');
  const numbers = [...list.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number));
  const named = new Set(
    globSync('**/*.test.ts', { cwd: tests }).flatMap((file) => {
      const text = readFileSync(join(tests, file), 'utf8');
      return [...text.matchAll(/\[elsewhere (\d+)\]/g)].map(([, number]) => Number(number));
    }),
  );
  expect(numbers).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
  expect(numbers.filter((number) => !named.has(number))).toEqual([]);
});
