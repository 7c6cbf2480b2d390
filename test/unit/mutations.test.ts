import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { mutated, mutations } from '../faults/mutation-list.ts';

const root = join(import.meta.dirname, '..', '..');

test('each rule that is taken out of the code is in it', () => {
  const texts = new Map(mutations.map(({ file }) => [file, readFileSync(join(root, file), 'utf8')]));
  expect(mutations.filter(({ file, from, to }) => mutated(texts.get(file) ?? '', { from, to }) === undefined)).toEqual(
    [],
  );
  expect(mutations.filter(({ from, to }) => from === to)).toEqual([]);
});
