import { describe, expect, test } from 'vitest';
import { type ImportRules, importBounds, importRules, searchImports } from './import.ts';

/** Of the largest bound the states that are nearest; `npm run model` searches all of them. */
const statesMax = 40_000;

describe('in no state that imports can come to is a row lost, doubled or half answered, or an import stuck', () => {
  test.each(Object.entries(importBounds))('%s', (_, bounds) => {
    const { complete, found, states } = searchImports(importRules, bounds, statesMax);
    expect(found).toBeUndefined();
    expect(complete || states > statesMax).toBe(true);
    expect(states).toBeGreaterThan(100);
  });
});

/** The counterexample that each rule answers: where it is found, how many steps it takes at least, and what goes wrong. */
const answered: [keyof ImportRules, keyof typeof importBounds, number, RegExp][] = [
  ['sealFirst', 'a buffer that loses everything', 8, /in an answer in part/],
  ['recordFirst', 'a buffer that loses everything', 9, /in an answer in part/],
  ['restore', 'a buffer that loses everything', 11, /in an answer in part/],
  ['restoreTaken', 'writers that want more lanes, and a buffer that loses everything', 11, /of two/],
  ['restoreLanes', 'writers that want more lanes, and a buffer that loses everything', 19, /of two/],
  ['showAgain', 'two imports, and a buffer that loses everything', 18, /stuck/],
  ['writersOff', 'writers that want more lanes', 9, /of two/],
  ['oneAtATime', 'two imports, and a buffer that loses everything', 28, /in an answer in part/],
  ['question', 'two workers at once, and inserts that come late', 9, /of two/],
  ['count', 'two workers at once, and inserts that come late', 16, /is done, and a chunk of it is not there/],
];

describe('every rule answers a counterexample, which is found again without it', () => {
  test('every rule is among them', () => {
    expect(answered.map(([rule]) => rule).sort()).toEqual(Object.keys(importRules).sort());
  });

  test.each(answered)('without %s: %s', (rule, name, steps, violation) => {
    const bounds = importBounds[name];
    if (bounds === undefined) throw new Error(`no bounds have the name ${name}`);
    const { found } = searchImports({ ...importRules, [rule]: false }, bounds);
    expect(found?.violation).toMatch(violation);
    // Breadth first: none is shorter.
    expect(found?.steps).toHaveLength(steps);
  });
});
