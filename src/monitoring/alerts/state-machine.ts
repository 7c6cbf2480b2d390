/**
 * The state machine of one alert instance: a rule and the labels of what it watches. Pure: no clock and no store. An
 * evaluation that could not read everything is no input. The minutes that it missed are folded in later, in order.
 *
 * @module
 */

/** How a rule turns inputs into states; times in milliseconds. */
export type Timing = {
  for_ms: number;
  keepFiring_ms: number;
  successesToRecover: number;
  noData: 'keep' | 'alert' | 'ok';
  noDataFor_ms: number;
  /** Missing data for this time resolves a firing alert; undefined: never. */
  forgetAfter_ms?: number | undefined;
};

/**
 * What an evaluation has found. `between` is a value on neither side of the two thresholds of a rule with a
 * `resolveThreshold`.
 */
export type Input = {
  kind: 'breach' | 'ok' | 'no-data' | 'between';
  value: number | null;
  /** The newest row; null without rows. */
  lastAt_ms: number | null;
  /** `breach`: the first breaching row. `ok`: the first row that is ok again. `no-data`: when data counted as missing. */
  beganAt_ms: number;
};

export type Reason = 'breach' | 'nodata' | 'error';

export type Instance = {
  state: 'normal' | 'pending' | 'firing' | 'recovering';
  reason: Reason;
  /** When the state began. */
  since_ms: number;
  /** When the cause began: the first breaching row, or the time from which data was missing. */
  startsAt_ms: number;
  firedAt_ms: number | null;
  /** Grows with each alert that fires. */
  episode: number;
  /** Time in this state that two evaluations in a row confirm. */
  held_ms: number;
  /** The same over breaches and missing data in any order. */
  bad_ms: number;
  lastInput: Input['kind'];
  /** Newest row that counted as a success while recovering. */
  successAt_ms: number | null;
  successes: number;
  flaps: number;
  value: number | null;
  /** The value when the alert fired. */
  firedValue: number | null;
  ackedBy: string | null;
  /** Revision of the rule that the state is of. */
  revision: number;
};

export type Transition = {
  kind: 'fired' | 'resolved' | 'changed';
  /** The evaluation's time. */
  at_ms: number;
  reason: Reason | 'removed' | 'missing' | 'rule-changed' | 'ok';
  endsAt_ms: number | null;
  value: number | null;
};

export type Step = { next: Instance; transitions: Transition[] };

export function normalInstance(episode: number, revision: number): Instance {
  return {
    state: 'normal',
    reason: 'breach',
    since_ms: 0,
    startsAt_ms: 0,
    firedAt_ms: null,
    episode,
    held_ms: 0,
    bad_ms: 0,
    lastInput: 'ok',
    successAt_ms: null,
    successes: 0,
    flaps: 0,
    value: null,
    firedValue: null,
    ackedBy: null,
    revision,
  };
}

/**
 * The next state.
 *
 * @param at_ms time of the evaluation
 * @param before_ms time of the evaluation before it; undefined for the first one
 */
export function nextState(
  instance: Instance,
  input: Input,
  timing: Timing,
  revision: number,
  at_ms: number,
  before_ms: number | undefined,
): Step {
  const isChanged = instance.state !== 'normal' && instance.revision !== revision;
  // A pending alert of another rule proves nothing.
  const from = isChanged && instance.state === 'pending' ? normalInstance(instance.episode, revision) : instance;
  const kind = input.kind === 'no-data' && timing.noData === 'ok' ? 'ok' : input.kind;
  const passed_ms = before_ms === undefined ? 0 : Math.max(0, at_ms - before_ms);
  const at: Moment = { input, kind, timing, at_ms, before_ms, passed_ms, isRuleChanged: isChanged };
  const step = advance({ ...from, revision }, at);
  const { next } = step;
  return {
    ...step,
    next: {
      ...next,
      lastInput: kind,
      value: kind === 'no-data' ? next.value : input.value,
    },
  };
}

/** The end of an alert whose rule or service is disabled, deleted or out of scope. */
export function removed(instance: Instance, at_ms: number): Step {
  const next = normalInstance(instance.episode, instance.revision);
  if (instance.firedAt_ms === null) return { next, transitions: [] };
  const { value } = instance;
  return { next, transitions: [{ kind: 'resolved', at_ms, reason: 'removed', endsAt_ms: at_ms, value }] };
}

type Moment = {
  input: Input;
  /** The input after the rule's choice of what missing data means. */
  kind: Input['kind'];
  timing: Timing;
  at_ms: number;
  before_ms: number | undefined;
  passed_ms: number;
  isRuleChanged: boolean;
};

function advance(from: Instance, at: Moment): Step {
  switch (from.state) {
    case 'normal':
      return fromNormal(from, at);
    case 'pending':
      return fromPending(from, at);
    case 'firing':
      return fromFiring(from, at);
    case 'recovering':
      return fromRecovering(from, at);
  }
}

const stay = (next: Instance): Step => ({ next, transitions: [] });

function fromNormal(from: Instance, at: Moment): Step {
  const { kind, timing, input, at_ms, before_ms } = at;
  if (kind === 'breach') {
    const pending = begin(from, 'breach', at_ms, input.beganAt_ms);
    return timing.for_ms === 0 ? fire(pending, at) : stay(pending);
  }
  // What is forgotten does not fire again before it has data.
  if (kind !== 'no-data' || timing.noData !== 'alert' || isForgotten(at)) return stay(from);
  const pending = begin(from, 'nodata', input.beganAt_ms, input.beganAt_ms);
  // The evaluation before this one had data, so the data has been missing since then at most.
  const held_ms = before_ms === undefined ? 0 : Math.max(0, at_ms - Math.max(input.beganAt_ms, before_ms));
  return held_ms >= timing.noDataFor_ms ? fire({ ...pending, held_ms }, at) : stay({ ...pending, held_ms });
}

function begin(from: Instance, reason: Reason, since_ms: number, startsAt_ms: number): Instance {
  return { ...normalInstance(from.episode, from.revision), state: 'pending', reason, since_ms, startsAt_ms };
}

function fromPending(from: Instance, at: Moment): Step {
  const { kind, timing, at_ms, passed_ms } = at;
  if (kind === 'ok') return stay(normalInstance(from.episode, from.revision));
  if (kind === 'between') return stay(from);
  if (kind === 'no-data' && timing.noData === 'keep') return stay(from);
  const wasBad = from.lastInput === 'breach' || from.lastInput === 'no-data';
  const bad_ms = from.bad_ms + (wasBad && timing.noData === 'alert' ? passed_ms : 0);
  const isBadLongEnough = timing.noData === 'alert' && bad_ms >= Math.max(timing.for_ms, timing.noDataFor_ms);
  const reason = kind === 'breach' ? 'breach' : 'nodata';
  const needed_ms = kind === 'breach' ? timing.for_ms : timing.noDataFor_ms;
  if (reason !== from.reason) {
    const other: Instance = { ...from, reason, since_ms: at_ms, held_ms: 0, bad_ms };
    return needed_ms === 0 || isBadLongEnough ? fire(other, at) : stay(other);
  }
  const held_ms = from.held_ms + (from.lastInput === kind ? passed_ms : 0);
  const same: Instance = { ...from, held_ms, bad_ms };
  return held_ms >= needed_ms || isBadLongEnough ? fire(same, at) : stay(same);
}

function fire(from: Instance, { at_ms, input }: Moment): Step {
  const next: Instance = {
    ...from,
    state: 'firing',
    since_ms: at_ms,
    firedAt_ms: at_ms,
    firedValue: input.value,
    episode: from.episode + 1,
    held_ms: 0,
    bad_ms: 0,
  };
  const { reason } = from;
  return { next, transitions: [{ kind: 'fired', at_ms, reason, endsAt_ms: null, value: input.value }] };
}

function fromFiring(from: Instance, at: Moment): Step {
  const { kind, timing, input, at_ms } = at;
  if (kind === 'between') return stay(from);
  if (kind === 'breach') return withReason(from, 'breach', at);
  if (kind === 'ok') {
    if (timing.keepFiring_ms === 0 && timing.successesToRecover === 1) return resolve(from, input.beganAt_ms, at);
    return stay({
      ...from,
      state: 'recovering',
      since_ms: at_ms,
      held_ms: 0,
      successes: 1,
      successAt_ms: input.lastAt_ms,
    });
  }
  if (from.reason === 'nodata' && isForgotten(at)) return resolve(from, input.beganAt_ms, at, 'missing');
  return withReason(from, 'nodata', at);
}

function isForgotten({ timing, input, at_ms }: Moment): boolean {
  return timing.forgetAfter_ms !== undefined && at_ms - input.beganAt_ms >= timing.forgetAfter_ms;
}

function withReason(from: Instance, reason: Reason, { at_ms, input }: Moment): Step {
  if (from.reason === reason) return stay(from);
  const value = reason === 'nodata' ? null : input.value;
  return { next: { ...from, reason }, transitions: [{ kind: 'changed', at_ms, reason, endsAt_ms: null, value }] };
}

function fromRecovering(from: Instance, at: Moment): Step {
  const { kind, timing, input, at_ms, passed_ms } = at;
  if (kind === 'no-data') return stay(from);
  const isConfirmed = from.lastInput === 'ok' || from.lastInput === 'between';
  const held_ms = from.held_ms + (isConfirmed ? passed_ms : 0);
  if (kind === 'between') return stay({ ...from, held_ms });
  if (kind === 'breach') {
    const again: Instance = { ...from, state: 'firing', since_ms: at_ms, held_ms: 0, successes: 0 };
    const { next, transitions } = withReason(again, 'breach', at);
    return { next: { ...next, flaps: from.flaps + 1 }, transitions };
  }
  // Two evaluations that see the same newest row count it once.
  const isNew = input.lastAt_ms === null || from.successAt_ms === null || input.lastAt_ms > from.successAt_ms;
  const successes = from.successes + (isNew ? 1 : 0);
  if (held_ms >= timing.keepFiring_ms && successes >= timing.successesToRecover) {
    return resolve(from, from.since_ms, at);
  }
  return stay({ ...from, held_ms, successes, successAt_ms: input.lastAt_ms });
}

function resolve(from: Instance, endsAt_ms: number, at: Moment, reason?: 'missing'): Step {
  const { at_ms, input, isRuleChanged } = at;
  return {
    next: normalInstance(from.episode, from.revision),
    transitions: [
      {
        kind: 'resolved',
        at_ms,
        reason: reason ?? (isRuleChanged ? 'rule-changed' : 'ok'),
        endsAt_ms,
        value: input.value,
      },
    ],
  };
}
