import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { transform } from 'esbuild';
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

test('code without a rule still compiles', async () => {
  const typescript = mutations.filter(({ file }) => file.endsWith('.ts'));
  for (const { file, from, to } of typescript) {
    const code = mutated(readFileSync(join(root, file), 'utf8'), { from, to }) ?? '';
    await expect(transform(code, { loader: 'ts' }), `${from} → ${to}`).resolves.toBeDefined();
  }
});

test('the named test is in the named file', () => {
  const texts = new Map(mutations.map(({ suite }) => [suite, readFileSync(join(root, suite), 'utf8')]));
  expect(mutations.filter(({ suite, test: name = '' }) => !texts.get(suite)?.includes(name))).toEqual([]);
});
