import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LruMap } from '../../src/core/lru-map.ts';

const root = join(import.meta.dirname, '..', '..');

test('whatever is done, the entries used last are kept, as many as the budget has room for', () => {
  const key = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const step = fc.oneof(
    fc.record({ does: fc.constant('set' as const), key, size: fc.integer({ min: 0, max: 12 }) }),
    fc.record({ does: fc.constantFrom('get' as const, 'delete' as const), key, size: fc.constant(0) }),
    fc.record({ does: fc.constant('clear' as const), key: fc.constant(''), size: fc.constant(0) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const kept = new LruMap<number>(10, (size) => size);
      let expected: [string, number][] = [];
      for (const { does, key: of, size } of steps) {
        const found = expected.find(([each]) => each === of);
        const others = expected.filter(([each]) => each !== of);
        if (does === 'get') {
          expect(kept.get(of)).toBe(found?.[1]);
          expected = found === undefined ? others : [...others, found];
        } else if (does === 'set') {
          kept.set(of, size);
          expected = size > 10 ? others : [...others, [of, size]];
          while (expected.reduce((sum, [, each]) => sum + each, 0) > 10) expected.shift();
        } else {
          if (does === 'delete') expect(kept.delete(of)).toBe(found !== undefined);
          else kept.clear();
          expected = does === 'delete' ? others : [];
        }
        expect([...kept]).toEqual(expected);
      }
    }),
  );
});

test('every part of an instance’s memory has a budget', () => {
  const sources = globSync('src/**/*.ts', { cwd: root }).map((file) => readFileSync(join(root, file), 'utf8'));
  const parts = sources
    .flatMap((text) => [...text.matchAll(/inEachInstance\(\s*(?:\(.*?\)) =>\s*new (\w+)/g)])
    .map(([, made]) => made);
  expect(parts.length).toBeGreaterThan(9);
  // Of what runs, an entry leaves with its last request: slots, queries that can be cancelled, and builds of status pages.
  expect(parts.filter((made) => made === 'Map')).toHaveLength(3);
  expect(new Set(parts)).toEqual(new Set(['Map', 'LruMap', 'TailCache', 'DeniedRequests']));
});
