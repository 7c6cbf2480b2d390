import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Input,
  type Instance,
  nextState,
  normalInstance,
  removed,
  type Timing,
  type Transition,
} from '../../../src/monitoring/alerts/state-machine.ts';

const minute_ms = 60_000;
const start_ms = Date.parse('2026-05-01T10:00:00Z');
const at = (clock: string) => Date.parse(`2026-05-01T${clock}Z`);

const timing = (some: Partial<Timing> = {}): Timing => {
  return { for_ms: 0, keepFiring_ms: 0, successesToRecover: 1, noData: 'keep', noDataFor_ms: 0, ...some };
};

type Seen = { at_ms: number; kind: Input['kind']; beganAt_ms?: number; value?: number; lastAt_ms?: number };

/** Folds a history into transitions and the last state. */
function fold(history: Seen[], rule: Timing, revisions: number[] = []): { all: Transition[]; last: Instance } {
  const all: Transition[] = [];
  let last = normalInstance(0, revisions[0] ?? 1);
  let before_ms: number | undefined;
  for (const [n, seen] of history.entries()) {
    const { kind, at_ms } = seen;
    const input = {
      kind,
      value: seen.value ?? null,
      lastAt_ms: seen.lastAt_ms ?? at_ms,
      beganAt_ms: seen.beganAt_ms ?? at_ms,
    };
    const step = nextState(last, input, rule, revisions[n] ?? 1, at_ms, before_ms);
    all.push(...step.transitions);
    last = step.next;
    before_ms = at_ms;
  }
  return { all, last };
}

/** One input a minute: b breach, o ok, n no data, - between. */
function minutes(letters: string): Seen[] {
  const kinds: Record<string, Input['kind']> = { b: 'breach', o: 'ok', n: 'no-data', '-': 'between' };
  return [...letters].map((letter, n) => ({ at_ms: start_ms + n * minute_ms, kind: kinds[letter] ?? 'ok' }));
}

const told = (all: Transition[]) =>
  all.map(({ kind, at_ms, reason }) => `${kind} ${(at_ms - start_ms) / minute_ms} ${reason}`);

describe('an alert', () => {
  test('that flaps for an hour fires once, and is resolved after five minutes without a breach', () => {
    const { all, last } = fold(
      minutes(`${'bo'.repeat(30)}${'o'.repeat(10)}`),
      timing({ keepFiring_ms: 5 * minute_ms }),
    );
    expect(told(all)).toEqual(['fired 0 breach', 'resolved 64 ok']);
    expect(all[1]?.endsAt_ms).toBe(start_ms + 59 * minute_ms);
    expect(last).toEqual({ ...normalInstance(1, 1), value: null });
  });

  test('counts how often it flaps', () => {
    const { last } = fold(minutes('bo'.repeat(30)), timing({ keepFiring_ms: 5 * minute_ms }));
    expect(last).toMatchObject({ state: 'recovering', flaps: 29, episode: 1 });
  });

  test('is not resolved by missing rows, however long', () => {
    const { all, last } = fold(minutes(`b${'n'.repeat(300)}oo`), timing({ successesToRecover: 2 }));
    expect(told(all)).toEqual(['fired 0 breach', 'changed 1 nodata', 'resolved 302 ok']);
    expect(last.state).toBe('normal');
  });

  test('of missing rows fires when they have been missing long enough, and starts when they began to be missing', () => {
    const rule = timing({ noData: 'alert', noDataFor_ms: 2 * minute_ms });
    const missing = at('10:03:00');
    const seen = (clock: string): Seen => {
      const isMissing = at(clock) > missing;
      return { at_ms: at(clock), kind: isMissing ? 'no-data' : 'ok', beganAt_ms: isMissing ? missing : at(clock) };
    };
    for (const seconds of ['00', '05', '59']) {
      const history = ['10:01', '10:02', '10:03', '10:04', '10:05', '10:06'].map((each) => seen(`${each}:${seconds}`));
      const { all, last } = fold(history, rule);
      expect(all).toMatchObject([{ kind: 'fired', at_ms: at(`10:05:${seconds}`), reason: 'nodata' }]);
      expect(last.startsAt_ms).toBe(missing);
    }
  });

  test('that fires for missing rows and then for a breach is one episode', () => {
    const rule = timing({ noData: 'alert', noDataFor_ms: minute_ms });
    expect(told(fold(minutes('onnnbbbo'), rule).all)).toEqual(['fired 2 nodata', 'changed 4 breach', 'resolved 7 ok']);
  });

  test('fires once when breaches and missing rows alternate, and not where missing rows keep the state', () => {
    const letters = 'nb'.repeat(20);
    const times = { for_ms: minute_ms, noDataFor_ms: 2 * minute_ms };
    const fired = told(fold(minutes(letters), timing({ ...times, noData: 'alert' })).all);
    expect(fired.filter((each) => each.startsWith('fired'))).toEqual(['fired 2 nodata']);
    expect(fired.filter((each) => each.startsWith('resolved'))).toEqual([]);
    expect(fold(minutes(letters), timing(times)).all).toEqual([]);
  });

  test('that was pending at two of six minutes fires in the minute in which they are full', () => {
    expect(told(fold(minutes('obbbbbbbbbb'), timing({ for_ms: 6 * minute_ms })).all)).toEqual(['fired 7 breach']);
  });

  test('ends between its two thresholds only beyond the second one', () => {
    expect(told(fold(minutes('b---o'), timing()).all)).toEqual(['fired 0 breach', 'resolved 4 ok']);
    expect(fold(minutes('---'), timing()).all).toEqual([]);
  });

  test('whose service is removed is resolved, if it has fired', () => {
    const firing = fold(minutes('b'), timing()).last;
    expect(removed(firing, start_ms + minute_ms).transitions).toMatchObject([{ kind: 'resolved', reason: 'removed' }]);
    const pending = fold(minutes('b'), timing({ for_ms: minute_ms })).last;
    expect(removed(pending, start_ms + minute_ms)).toEqual({ next: normalInstance(0, 1), transitions: [] });
  });

  test('whose rule changes begins anew while pending, and stays while it fires', () => {
    const rule = timing({ for_ms: 2 * minute_ms });
    expect(told(fold(minutes('bbbbb'), rule, [1, 1, 2, 2, 2]).all)).toEqual(['fired 4 breach']);
    expect(told(fold(minutes('bbbbb'), rule, [1, 1, 1, 2, 2]).all)).toEqual(['fired 2 breach']);
    expect(told(fold(minutes('bbbo'), rule, [1, 1, 1, 2]).all)).toEqual(['fired 2 breach', 'resolved 3 rule-changed']);
  });

  test('without rows for long is resolved as missing where the rule says so', () => {
    const rule = timing({ noData: 'alert', forgetAfter_ms: 5 * minute_ms });
    const history = minutes('bnnnnnnn').map((each) => {
      return each.kind === 'no-data' ? { ...each, beganAt_ms: start_ms + minute_ms } : each;
    });
    expect(told(fold(history, rule).all)).toEqual(['fired 0 breach', 'changed 1 nodata', 'resolved 6 missing']);
  });
});

/**
 * What a history must lead to, looked up in the whole of it for each minute, without any state but the episode's beginning
 * and end.
 */
function oracle(history: Seen[], rule: Timing): string[] {
  const kinds = history.map(({ kind }) => (kind === 'no-data' && rule.noData === 'ok' ? 'ok' : kind));
  const gap = (n: number) => (history[n]?.at_ms ?? 0) - (history[n - 1]?.at_ms ?? 0);
  const minutesWhere = (from: number, to: number, holds: (n: number) => boolean) => {
    let sum = 0;
    for (let n = from; n <= to; n += 1) if (holds(n)) sum += gap(n);
    return sum;
  };
  const found: string[] = [];
  let openSince: number | undefined;
  let closedAt = -1;
  const isBad = (n: number) => kinds[n] === 'breach' || (kinds[n] === 'no-data' && rule.noData === 'alert');
  for (let n = 0; n < kinds.length; n += 1) {
    const kind = kinds[n];
    if (openSince === undefined) {
      if (!isBad(n)) continue;
      // The run of trouble that reaches until here begins after the last ok.
      let first = n;
      for (let k = n; k > closedAt && kinds[k] !== 'ok'; k -= 1) if (isBad(k)) first = k;
      const bad = rule.noData === 'alert' ? minutesWhere(first + 1, n, (k) => isBad(k) && isBad(k - 1)) : -1;
      // The stretch of the same kind at its end; under `keep` missing data interrupts nothing.
      let stretch = n;
      while (stretch > first && (kinds[stretch - 1] === kind || rule.noData === 'keep')) stretch -= 1;
      const same = minutesWhere(stretch + 1, n, (k) => kinds[k] === kind && kinds[k - 1] === kind);
      const needed = kind === 'breach' ? rule.for_ms : rule.noDataFor_ms;
      const isFull = n > first && bad >= Math.max(rule.for_ms, rule.noDataFor_ms);
      if (same < needed && !isFull) continue;
      found.push(`fired ${n}`);
      openSince = n;
    } else {
      if (kind !== 'ok') continue;
      let since = n;
      for (let k = n; k > openSince && kinds[k] !== 'breach'; k -= 1) if (kinds[k] === 'ok') since = k;
      const oks = kinds.slice(since, n + 1).filter((each) => each === 'ok').length;
      const held = minutesWhere(since + 1, n, (k) => kinds[k] === 'ok' && kinds[k - 1] === 'ok');
      const isAtOnce = rule.keepFiring_ms === 0 && rule.successesToRecover === 1;
      const isLongEnough = n > since && held >= rule.keepFiring_ms && oks >= rule.successesToRecover;
      if (!isAtOnce && !isLongEnough) continue;
      found.push(`resolved ${n}`);
      openSince = undefined;
      closedAt = n;
    }
  }
  return found;
}

test('fires and resolves when the whole history says so', () => {
  const inputs = fc.array(
    fc.record({
      kind: fc.constantFrom<Input['kind']>('breach', 'breach', 'ok', 'ok', 'no-data'),
      gap: fc.constantFrom(30_000, minute_ms, 90_000),
    }),
    { minLength: 1, maxLength: 40 },
  );
  const times = fc.constantFrom(0, minute_ms, 2 * minute_ms, 5 * minute_ms);
  const rules = fc.record({
    for_ms: times,
    keepFiring_ms: times,
    successesToRecover: fc.integer({ min: 1, max: 3 }),
    noData: fc.constantFrom<Timing['noData']>('keep', 'alert', 'ok'),
    noDataFor_ms: times,
  });
  fc.assert(
    fc.property(inputs, rules, (some, rule) => {
      let at_ms = start_ms;
      // Data counts as missing from the moment in which that is seen, so that no time before it counts.
      const history = some.map(({ kind, gap }): Seen => {
        at_ms += gap;
        return { kind, at_ms };
      });
      const place = new Map(history.map((each, n) => [each.at_ms, n]));
      const { all } = fold(history, rule);
      const seen = all.filter(({ kind }) => kind !== 'changed');
      expect(seen.map((each) => `${each.kind} ${place.get(each.at_ms)}`)).toEqual(oracle(history, rule));
    }),
    { numRuns: 3_000 },
  );
});
