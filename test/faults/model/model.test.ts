import { describe, expect, test } from 'vitest';
import { allRules, bounded, type Rules, rulesWithout } from './rules.ts';
import { search } from './search.ts';

/** Of the largest bounds the states that are nearest; `npm run model` searches all of them. */
const statesMax = 20_000;

describe('in no state that the protocol can come to is a row lost, doubled or half answered, or a lane stuck', () => {
  test.each(Object.entries(bounded))('%s', (_, bounds) => {
    const { complete, found, states } = search(allRules, bounds, statesMax);
    expect(found).toBeUndefined();
    expect(complete || states > statesMax).toBe(true);
    expect(states).toBeGreaterThan(1_000);
  });
});

/**
 * The counterexample that each rule answers: where it is found, how many steps it takes at least, and what goes wrong.
 */
const answered: [keyof Rules, keyof typeof bounded, number, RegExp][] = [
  ['question', 'a server that is killed', 18, /in ClickHouse twice/],
  ['tokenOfSeal', 'inserts that come late', 12, /in ClickHouse twice/],
  ['count', 'a server that is killed', 16, /published and trimmed, and not in ClickHouse/],
  ['repairTokens', 'a server that is killed', 6, /stuck/],
  ['startOverAfterError', 'inserts that come late', 10, /in ClickHouse twice/],
  ['window', 'inserts that come late', 11, /in ClickHouse twice/],
  ['takeOver', 'inserts that come late', 12, /in ClickHouse twice/],
  ['publishNeedsSeal', 'inserts that come late', 29, /trimmed, and pending again/],
  [
    'waitForReplica',
    'a query of one batch beside a failover, with a replica that has the seals',
    22,
    /in the answer in part/,
  ],
  ['identity', 'a buffer that fails over', 16, /published and trimmed, and not in ClickHouse/],
  ['alone', 'a buffer that fails over', 14, /in ClickHouse twice/],
  ['newEpochs', 'a query beside a failover', 21, /in the answer in part/],
  ['nothingBeyond', 'a query beside a failover', 10, /in its answer 2 times/],
  ['finished', 'rows that are deleted', 16, /was deleted, and is in ClickHouse/],
  [
    'eachBatch',
    'rows that are deleted, a buffer that fails over, and a batch after it',
    19,
    /was deleted, and is in ClickHouse/,
  ],
  ['deletionWaits', 'rows that are deleted', 16, /was deleted, and is in ClickHouse/],
  ['oneSnapshot', 'a query beside two flushers', 14, /in its answer 0 times/],
  ['validation', 'a query beside two flushers', 8, /in its answer 2 times/],
  ['storedIsNotSkipped', 'a row of one batch that is refused', 13, /stuck/],
  ['asideStaysOut', 'a row that is refused', 22, /was sent again, and is in ClickHouse/],
  ['replayWaits', 'a row that is refused', 22, /was sent again, and is in ClickHouse/],
  ['fence', 'a query beside two flushers', 9, /in its answer 2 times/],
];

describe('every rule answers a counterexample, which is found again without it', () => {
  test('every rule is among them', () => {
    expect(answered.map(([rule]) => rule).sort()).toEqual(Object.keys(allRules).sort());
  });

  test.each(answered)('without %s: %s', (rule, name, steps, violation) => {
    const bounds = bounded[name];
    if (bounds === undefined) throw new Error(`no bounds have the name ${name}`);
    const { found } = search(rulesWithout(rule), bounds);
    expect(found?.violation).toMatch(violation);
    // Breadth first: none is shorter.
    expect(found?.steps).toHaveLength(steps);
  });
});
