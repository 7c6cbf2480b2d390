import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { script } from '../../../src/stores/redis/script.ts';
import { mutated, mutations } from '../../faults/mutation-list.ts';
import { newInstance } from '../support.ts';

const root = join(import.meta.dirname, '..', '..', '..');
const scripts = mutations.filter(({ file }) => file.endsWith('.lua'));

test('a script without a rule still compiles: what a test notices then is the rule', async () => {
  const { redis } = newInstance();
  const loads = scripts.map((mutation) => {
    const { source, plain } = script(mutated(readFileSync(join(root, mutation.file), 'utf8'), mutation) ?? '');
    return ['SCRIPT', 'LOAD', (plain ?? { source }).source];
  });
  const replies = await redis.inTurn(loads);
  expect(replies.flatMap(({ error }, i) => (error === undefined ? [] : [`${scripts[i]?.rule}: ${error}`]))).toEqual([]);
  expect(replies).toHaveLength(scripts.length);
});
