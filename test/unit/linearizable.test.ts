import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isLinearizable, type Model, type Operation } from '../faults/linearizable/check.ts';
import {
  type Action,
  batchesShown,
  describeHistory,
  isExplained,
  smallestViolation,
  table,
} from '../faults/linearizable/table-history.ts';

type Register = { do: 'write' | 'read'; value: number };

const register: Model<number, Register> = {
  initial: 0,
  apply: (state, { do: what, value }) => (what === 'write' ? value : state === value ? state : undefined),
  keyOf: String,
};

const at = (call: number, end: number, what: 'write' | 'read', value: number): Operation<Register> => ({
  call,
  return: end,
  action: { do: what, value },
});

const write = (call: number, end: number, batch: string, rows = 1): Operation<Action> => ({
  call,
  return: end,
  action: { do: 'write', batch, rows },
});
const read = (call: number, end: number, ...batches: string[]): Operation<Action> => ({
  call,
  return: end,
  action: { do: 'read', how: 'test', batches: new Set(batches) },
});
const count = (call: number, end: number, rows: number): Operation<Action> => ({
  call,
  return: end,
  action: { do: 'count', how: 'test', rows },
});
const never = Number.POSITIVE_INFINITY;

describe('a register', () => {
  test.each<[string, boolean, Operation<Register>[]]>([
    ['nothing happened', true, []],
    [
      'reads in the order of writes',
      true,
      [at(0, 1, 'write', 1), at(2, 3, 'read', 1), at(4, 5, 'write', 2), at(6, 7, 'read', 2)],
    ],
    ['a read beside a write sees it', true, [at(0, 10, 'write', 1), at(1, 2, 'read', 1)]],
    ['a read beside a write does not see it', true, [at(0, 10, 'write', 1), at(1, 2, 'read', 0)]],
    [
      'reads beside a write see it, and then not',
      false,
      [at(0, 10, 'write', 1), at(1, 2, 'read', 1), at(3, 4, 'read', 0)],
    ],
    ['a read after a write does not see it', false, [at(0, 1, 'write', 1), at(2, 3, 'read', 0)]],
    [
      'two readers see two writes in two orders',
      false,
      [at(0, 10, 'write', 1), at(0, 10, 'write', 2), at(11, 12, 'read', 1), at(13, 14, 'read', 2)],
    ],
    ['calls and returns of one moment may be in either order', true, [at(0, 1, 'write', 1), at(1, 2, 'read', 0)]],
    [
      'the search has to take a choice back',
      true,
      [
        at(0, 9, 'write', 1),
        at(0, 9, 'write', 2),
        at(0, 9, 'write', 3),
        at(1, 2, 'read', 3),
        at(3, 4, 'read', 2),
        at(5, 6, 'read', 1),
      ],
    ],
    ['a write that nobody knows of may have happened', true, [at(0, never, 'write', 1), at(5, 6, 'read', 1)]],
    ['or not', true, [at(0, never, 'write', 1), at(5, 6, 'read', 0)]],
    ['and late', true, [at(0, never, 'write', 1), at(5, 6, 'read', 0), at(7, 8, 'read', 1)]],
    ['but not before its call', false, [at(5, never, 'write', 1), at(1, 2, 'read', 1)]],
    [
      'nor once more',
      false,
      [at(0, never, 'write', 1), at(1, 2, 'read', 1), at(3, 4, 'write', 2), at(5, 6, 'read', 1)],
    ],
  ])('%s: %s', (_, expected, history) => {
    expect(isLinearizable(register, history)).toBe(expected);
  });
});

describe('a table', () => {
  test.each<[string, Operation<Action>[]]>([
    [
      'every read shows what was written before',
      [write(0, 1, 'a'), read(2, 3, 'a'), write(4, 5, 'b'), read(6, 7, 'a', 'b')],
    ],
    [
      'a read beside writes shows some of them',
      [write(0, 9, 'a'), write(0, 9, 'b'), read(1, 2, 'b'), read(3, 4, 'a', 'b')],
    ],
    [
      'a write whose outcome nobody knows shows late',
      [write(0, never, 'a'), read(1, 2), write(3, 4, 'b'), read(5, 6, 'b'), read(7, 8, 'a', 'b')],
    ],
    ['or never', [write(0, never, 'a'), write(3, 4, 'b'), read(5, 6, 'b')]],
    [
      'a number of rows is that of some order',
      [write(0, 9, 'a', 2), write(0, 9, 'b', 3), count(1, 2, 3), count(3, 4, 5)],
    ],
    ['rows that only a number shows', [write(0, never, 'a', 2), count(1, 2, 2), read(3, 4, 'a')]],
  ])('explained: %s', (_, history) => {
    expect(isExplained(history)).toBe(true);
  });

  test.each<[string, Operation<Action>[], number]>([
    ['a stale read', [write(0, 1, 'a'), read(2, 3)], 2],
    ['a stale read of another client, after one that was not', [write(0, 9, 'a'), read(1, 2, 'a'), read(3, 4)], 3],
    ['a write that was lost', [write(0, 1, 'a'), read(2, 3, 'a'), write(4, 5, 'b'), read(6, 7, 'b')], 2],
    ['a write that was lost, by number', [write(0, 1, 'a', 2), write(2, 3, 'b'), count(4, 5, 1)], 3],
    ['a write that shows twice', [write(0, 1, 'a', 2), read(2, 3, ...batchesShown(['a/0', 'a/1', 'a/1'], () => 2))], 1],
    ['a write that counts twice', [write(0, 1, 'a', 2), count(2, 3, 4)], 2],
    ['half a batch', [write(0, 9, 'a', 2), read(1, 2, ...batchesShown(['a/1'], () => 2))], 1],
    ['half a batch, by number', [write(0, 9, 'a', 2), count(1, 2, 1)], 2],
    ['rows before they were sent', [write(5, 6, 'a'), read(1, 2, 'a')], 1],
    ['rows that nobody sent', [write(0, 1, 'a'), read(2, 3, 'a', 'z')], 1],
    [
      'two readers that see two writes in two orders',
      [write(0, 9, 'a'), write(0, 9, 'b'), read(1, 8, 'a'), read(1, 8, 'b')],
      4,
    ],
    ['an unknown write that showed and is gone', [write(0, never, 'a'), read(1, 2, 'a'), read(3, 4)], 3],
    ['a number that grows too early', [write(0, 1, 'a'), write(4, 5, 'b'), count(2, 3, 2)], 2],
  ])('not explained: %s', (_, history, size) => {
    expect(isExplained(history)).toBe(false);
    // Among much else that is as it should be, what is wrong is found, and nothing more.
    const before = Array.from({ length: 20 }, (_, i) => write(-100 + i, -99.5 + i, `before-${i}`));
    const names = before.map(({ action }) => (action.do === 'write' ? action.batch : ''));
    const seen = history.map((each): Operation<Action> => {
      const { action } = each;
      if (action.do === 'count') return { ...each, action: { ...action, rows: action.rows + before.length } };
      return action.do === 'read'
        ? { ...each, action: { ...action, batches: new Set([...names, ...action.batches]) } }
        : each;
    });
    const found = smallestViolation([...before, ...seen]);
    expect(isExplained(found)).toBe(false);
    // A number needs every write that it may count.
    const isCount = history.some(({ action }) => action.do === 'count');
    expect(found, describeHistory(found)).toHaveLength(size + (isCount ? before.length : 0));
    expect(describeHistory(found).split('\n')).toHaveLength(found.length);
  });
});

/** Whether any order of all that happened, and of any of what may have, explains every answer. */
function isExplainedByAny<State, Act>(model: Model<State, Act>, history: Operation<Act>[]): boolean {
  const goOn = (state: State, left: Operation<Act>[]): boolean => {
    if (left.every((each) => each.return === never)) return true;
    const firstReturn = Math.min(...left.map((each) => each.return));
    return left.some((each) => {
      if (each.call > firstReturn) return false;
      const next = model.apply(state, each.action);
      return (
        next !== undefined &&
        goOn(
          next,
          left.filter((other) => other !== each),
        )
      );
    });
  };
  return goOn(model.initial, history);
}

const times = fc.tuple(fc.nat(12), fc.nat(12)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);

test('of small histories of a table, what is found is what trying every order finds', () => {
  const batches = ['a', 'b', 'c'];
  const writes = fc.tuple(
    ...batches.map((batch) =>
      fc
        .tuple(times, fc.boolean(), fc.integer({ min: 1, max: 2 }))
        .map(([[call, end], isKnown, rows]) => write(call, isKnown ? end : never, batch, rows)),
    ),
  );
  const reads = fc.array(
    fc.oneof(
      fc.tuple(times, fc.subarray(batches)).map(([[call, end], shown]) => read(call, end, ...shown)),
      fc.tuple(times, fc.nat(5)).map(([[call, end], rows]) => count(call, end, rows)),
    ),
    { maxLength: 4 },
  );
  const outcomes = { true: 0, false: 0 };
  fc.assert(
    fc.property(writes, reads, (w, r) => {
      const history = [...w, ...r];
      const expected = isExplainedByAny(table, history);
      outcomes[`${expected}`] += 1;
      expect(isExplained(history)).toBe(expected);
      expect(isLinearizable(table, history)).toBe(expected);
      if (!expected) expect(isExplainedByAny(table, smallestViolation(history))).toBe(false);
    }),
    { numRuns: 3_000 },
  );
  expect(Math.min(outcomes.true, outcomes.false)).toBeGreaterThan(300);
});

test('of small histories of a register, what is found is what trying every order finds', () => {
  const operation = fc
    .tuple(times, fc.constantFrom('read' as const, 'write' as const), fc.nat(2), fc.integer({ min: 0, max: 9 }))
    .map(([[call, end], what, value, luck]) => at(call, what === 'write' && luck === 0 ? never : end, what, value));
  const outcomes = { true: 0, false: 0 };
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 7 }), (history) => {
      const expected = isExplainedByAny(register, history);
      outcomes[`${expected}`] += 1;
      expect(isLinearizable(register, history)).toBe(expected);
    }),
    { numRuns: 5_000 },
  );
  expect(Math.min(outcomes.true, outcomes.false)).toBeGreaterThan(500);
});
