import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { mutations } from '../faults/mutation-list.ts';

const root = join(import.meta.dirname, '..', '..');

test('each rule that is taken out of the code is in it', () => {
  const texts = new Map(mutations.map(({ file }) => [file, readFileSync(join(root, file), 'utf8')]));
  expect(mutations.filter(({ file, from }) => texts.get(file)?.includes(from) !== true)).toEqual([]);
  expect(mutations.filter(({ from, to }) => from === to)).toEqual([]);
});
