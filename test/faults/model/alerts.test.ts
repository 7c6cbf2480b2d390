import { describe, expect, test } from 'vitest';
import { type AlertRules, alertBounds, alertRules, searchAlerts } from './alerts.ts';

/** Of the largest bound the states that are nearest; `npm run model` searches further. */
const statesMax = 30_000;

describe('in no state that evaluations can come to is an alert lost, notified of early, or without an end', () => {
  test.each(Object.entries(alertBounds))('%s', (_, bounds) => {
    const { complete, found, states } = searchAlerts(alertRules, bounds, statesMax);
    expect(found).toBeUndefined();
    expect(complete || states > statesMax).toBe(true);
    expect(states).toBeGreaterThan(100);
  });
});

/** The counterexample that each rule answers: where it is found, how many steps it takes at least, and what goes wrong. */
const answered: [keyof AlertRules, keyof typeof alertBounds, number, RegExp][] = [
  ['dirtyMark', 'evaluators that die', 7, /stuck/],
  ['markFirst', 'evaluators that die', 7, /stuck/],
  ['versionCheck', 'an acknowledgement between evaluations', 12, /an acknowledgement is lost/],
  ['outboxInTransaction', 'a late transaction, and rows that are deleted', 7, /stuck/],
  ['deadline', 'a late transaction, and rows that are deleted', 12, /stuck/],
  ['newestCopy', 'rows that are deleted between evaluations', 11, /stuck/],
  ['ownMarks', 'a late transaction, and rows that are deleted', 11, /stuck/],
];

describe('every rule answers a counterexample, which is found again without it', () => {
  test('every rule is among them', () => {
    expect(answered.map(([rule]) => rule).sort()).toEqual(Object.keys(alertRules).sort());
  });

  test.each(answered)('without %s: %s', (rule, name, steps, violation) => {
    const bounds = alertBounds[name];
    if (bounds === undefined) throw new Error(`no bounds have the name ${name}`);
    const { found } = searchAlerts({ ...alertRules, [rule]: false }, bounds);
    expect(found?.violation).toMatch(violation);
    // Breadth first: none is shorter.
    expect(found?.steps).toHaveLength(steps);
  });
});
