import { test as plain } from 'vitest';
import { type Instance, newDataset, newInstance } from './support.ts';

/** A clock that a test moves. It also runs with the clock of the machine. */
export type Clock = { now(): number; pass(ms: number): void; setTo(ms: number): void };

function newClock(): Clock {
  let ahead_ms = 0;
  return {
    now: () => Date.now() + ahead_ms,
    pass: (ms) => {
      ahead_ms += ms;
    },
    setTo: (ms) => {
      ahead_ms = ms - Date.now();
    },
  };
}

/** Vitest's `test`, with the set-up of most tests over the engines. */
export const test = plain
  /** A dataset of the test's own. */
  .extend('dataset', () => newDataset())
  .extend('clock', () => newClock())
  /** An instance of the test's own, which takes the time from `clock`. */
  .extend('instance', ({ clock }): Instance => ({ ...newInstance(), now: clock.now }));
