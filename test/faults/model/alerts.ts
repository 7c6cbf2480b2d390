import { explore, type Machine, type Result } from './search.ts';

/** The rules of a commit of alerts that look odd until they are taken out; the counterexample of each is found without it. */
export type AlertRules = {
  /** The copy in the hot buffer is marked, so that the next evaluation asks Postgres. */
  dirtyMark: boolean;
  /** It is marked before the transaction, not after it. */
  markFirst: boolean;
  /** The transaction compares the version of the state. */
  versionCheck: boolean;
  /** Notices are stored in the transaction of their events. */
  outboxInTransaction: boolean;
  /** The transaction is rejected after a deadline, earlier than its mark expires. */
  deadline: boolean;
  /** A copy replaces no copy of a later version. */
  newestCopy: boolean;
  /** A copy clears no mark of a later version, unless it has expired. */
  ownMarks: boolean;
};

export const alertRules: AlertRules = {
  dirtyMark: true,
  markFirst: true,
  versionCheck: true,
  outboxInTransaction: true,
  deadline: true,
  newestCopy: true,
  ownMarks: true,
};

export type AlertBounds = {
  evaluators: number;
  deaths: number;
  /** Transactions that arrive when nobody waits for their answer any more. */
  late: number;
  /** Deletions of the failed rows, after which a minute has other facts. */
  deletions: number;
  acknowledgements: number;
};

const calm: AlertBounds = { evaluators: 2, deaths: 0, late: 0, deletions: 0, acknowledgements: 0 };

export const alertBounds: Record<string, AlertBounds> = {
  'evaluators that die': { ...calm, deaths: 1 },
  'rows that are deleted between evaluations': { ...calm, deletions: 1 },
  'an acknowledgement between evaluations': { ...calm, acknowledgements: 1 },
  'a late transaction, and rows that are deleted': { ...calm, evaluators: 1, deaths: 1, late: 1, deletions: 1 },
  'all of it at once': { evaluators: 2, deaths: 1, late: 1, deletions: 1, acknowledgements: 1 },
};

/** Whether the service fails, minute by minute. */
const fails = [true, true, false];
const lastMinute = fails.length;
/** In minutes. A transaction is in time before the deadline; from the expiry on, a mark says nothing. */
const deadline = 2;
const expiry = 2;

/** One alert instance of a rule that fires at once. */
type Alert = { isFiring: boolean; isAcknowledged: boolean; episode: number };
type Versioned = { version: number; evaluatedAt: number; alert: Alert };
type Transaction = { base: number; at: number; alert: Alert; events: string[] };
type Evaluator =
  | { at: 'asks Postgres'; minute: number }
  | { at: 'keeps a copy'; minute: number; state: Versioned }
  | { at: 'reads facts'; minute: number; state: Versioned }
  | { at: 'notes'; minute: number; version: number }
  | { at: 'marks' | 'commits'; transaction: Transaction }
  | { at: 'has committed'; transaction: Transaction; isMarked: boolean; isNoticed: boolean };

type State = {
  minute: number;
  isDeleted: boolean;
  stored: Versioned;
  events: string[];
  notices: string[];
  copy: Versioned | undefined;
  mark: { version: number; minute: number } | undefined;
  evaluators: (Evaluator | undefined)[];
  late: Transaction[];
  /** The episode that a person has acknowledged. */
  acknowledged: number | undefined;
  left: Omit<AlertBounds, 'evaluators'>;
};

type Step = { name: string; next: State };

/** Searches the protocol of an evaluation's commit. */
export function searchAlerts(rules: AlertRules, bounds: AlertBounds, statesMax?: number): Result {
  const { evaluators, ...left } = bounds;
  const normal: Alert = { isFiring: false, isAcknowledged: false, episode: 0 };
  const machine: Machine<State> = {
    initial: {
      minute: 1,
      isDeleted: false,
      stored: { version: 0, evaluatedAt: 0, alert: normal },
      events: [],
      notices: [],
      copy: undefined,
      mark: undefined,
      evaluators: Array.from({ length: evaluators }, () => undefined),
      late: [],
      acknowledged: undefined,
      left,
    },
    steps: (state) => [
      ...surroundings(state, rules),
      ...state.evaluators.flatMap((evaluator, i) => evaluatorSteps(state, evaluator, i, rules)),
    ],
    violation,
    isDone,
    key: (state) => JSON.stringify(state),
  };
  return explore(machine, statesMax);
}

function violation(state: State): string | undefined {
  const { events, notices, stored, acknowledged, isDeleted } = state;
  const orphan = events.find((event) => {
    const [kind, episode] = event.split(' ');
    return kind === 'resolved' && !events.includes(`fired ${episode}`);
  });
  if (orphan !== undefined) return `${orphan}, and never fired`;
  const early = notices.find((event) => !events.includes(event));
  if (early !== undefined) return `a channel is notified of ${early}, which has not happened`;
  const { alert } = stored;
  if (alert.isFiring && alert.episode === acknowledged && !alert.isAcknowledged) return 'an acknowledgement is lost';
  if (isDone(state) && !isDeleted && events.length !== 2) return `a failure has the events ${events.join(', ')}`;
  return undefined;
}

/** All minutes are evaluated, the alert has ended, and each event has its notice. */
function isDone({ stored, copy, minute, evaluators, late, events, notices }: State): boolean {
  return (
    minute === lastMinute &&
    Math.max(stored.evaluatedAt, copy?.evaluatedAt ?? 0) === lastMinute &&
    !stored.alert.isFiring &&
    evaluators.every((each) => each === undefined) &&
    late.length === 0 &&
    events.length === notices.length
  );
}

/** The clock, a person, a job that deletes rows, and transactions that nobody waits for. */
function surroundings(state: State, rules: AlertRules): Step[] {
  const { minute, left, stored, mark } = state;
  const steps: Step[] = [];
  if (minute < lastMinute) steps.push({ name: `minute ${minute + 1}`, next: { ...state, minute: minute + 1 } });
  if (left.deletions > 0 && !state.isDeleted) {
    const next = { ...state, isDeleted: true, left: { ...left, deletions: left.deletions - 1 } };
    steps.push({ name: 'the failed rows are deleted', next });
  }
  if (left.acknowledgements > 0 && stored.alert.isFiring) {
    const version = stored.version + 1;
    const alert = { ...stored.alert, isAcknowledged: true };
    const next: State = {
      ...state,
      stored: { ...stored, version, alert },
      mark: { version: Math.max(mark?.version ?? 0, version), minute },
      acknowledged: alert.episode,
      left: { ...left, acknowledgements: left.acknowledgements - 1 },
    };
    steps.push({ name: `a person acknowledges episode ${alert.episode}`, next });
  }
  state.late.forEach((transaction, i) => {
    const arrived = { ...state, late: state.late.filter((_, j) => j !== i) };
    steps.push({ name: 'a transaction arrives late', next: committed(arrived, transaction, rules) ?? arrived });
  });
  return steps;
}

/** Undefined for a transaction that is rolled back. */
function committed(state: State, { base, at, alert, events }: Transaction, rules: AlertRules): State | undefined {
  const { stored, minute } = state;
  if (rules.versionCheck && stored.version !== base) return undefined;
  if (rules.deadline && minute >= at + deadline) return undefined;
  if (stored.evaluatedAt >= at) return undefined;
  return {
    ...state,
    stored: { version: stored.version + 1, evaluatedAt: at, alert },
    events: withNew(state.events, events),
    notices: rules.outboxInTransaction ? withNew(state.notices, events) : state.notices,
  };
}

/** Both have ids: what is there already is not added again. */
function withNew(known: string[], added: string[]): string[] {
  return [...new Set([...known, ...added])].sort();
}

function kept(state: State, copy: Versioned, readAt: number, rules: AlertRules): State {
  const { mark } = state;
  const isLater = state.copy !== undefined && state.copy.version > copy.version;
  const isSame = state.copy?.version === copy.version;
  const evaluatedAt = isSame ? Math.max(copy.evaluatedAt, state.copy?.evaluatedAt ?? 0) : copy.evaluatedAt;
  const isCleared =
    mark === undefined || !rules.ownMarks || mark.version <= copy.version || readAt >= mark.minute + expiry;
  return {
    ...state,
    copy: isLater && rules.newestCopy ? state.copy : { ...copy, evaluatedAt },
    mark: isCleared ? undefined : mark,
  };
}

function marked(state: State, { base }: Transaction): State {
  const version = Math.max(state.mark?.version ?? 0, base + 1);
  return { ...state, mark: { version, minute: state.minute } };
}

function evaluatorSteps(state: State, evaluator: Evaluator | undefined, i: number, rules: AlertRules): Step[] {
  const { minute, copy, mark, stored, left } = state;
  const become = (changed: Evaluator | undefined, others: State = state): State => ({
    ...others,
    evaluators: others.evaluators.map((each, j) => (j === i ? changed : each)),
  });
  const step = (what: string, next: State): Step => ({ name: `evaluator ${i + 1}: ${what}`, next });
  if (evaluator === undefined) {
    if (copy === undefined || mark !== undefined) {
      return [step('begins, and has to ask Postgres', become({ at: 'asks Postgres', minute }))];
    }
    if (copy.evaluatedAt >= minute) return [];
    return [step('begins with the copy', become({ at: 'reads facts', minute, state: copy }))];
  }
  const dies =
    left.deaths > 0 ? [step('dies', become(undefined, { ...state, left: { ...left, deaths: left.deaths - 1 } }))] : [];
  switch (evaluator.at) {
    case 'asks Postgres': {
      const known = copy?.version === stored.version ? copy.evaluatedAt : 0;
      const read = { ...stored, evaluatedAt: Math.max(stored.evaluatedAt, known) };
      const next = become({ at: 'keeps a copy', minute: evaluator.minute, state: read });
      return [...dies, step(`reads version ${stored.version}`, next)];
    }
    case 'keeps a copy': {
      const next = kept(state, evaluator.state, evaluator.minute, rules);
      return [...dies, step('keeps a copy', become({ ...evaluator, at: 'reads facts' }, next))];
    }
    case 'reads facts':
      return [...dies, step('reads facts', become(decided(state, evaluator)))];
    case 'notes': {
      const isNewer = copy?.version === evaluator.version && copy.evaluatedAt < evaluator.minute;
      const noted = isNewer ? { ...state, copy: { ...copy, evaluatedAt: evaluator.minute } } : state;
      return [...dies, step(`notes minute ${evaluator.minute}`, become(undefined, noted))];
    }
    case 'marks': {
      const isMarked = rules.dirtyMark && rules.markFirst;
      const next = isMarked ? marked(state, evaluator.transaction) : state;
      return [...dies, step('marks the copy', become({ ...evaluator, at: 'commits' }, next))];
    }
    case 'commits': {
      const { transaction } = evaluator;
      const next = committed(state, transaction, rules);
      const steps = [
        next === undefined
          ? step('is rejected', become(undefined))
          : step(
              `commits ${transaction.events.join(', ')}`,
              become(
                { at: 'has committed', transaction, isMarked: rules.markFirst, isNoticed: rules.outboxInTransaction },
                next,
              ),
            ),
      ];
      if (left.late > 0) {
        const sent = { ...state, late: [...state.late, transaction], left: { ...left, late: left.late - 1 } };
        steps.push(step('gives up waiting', become(undefined, sent)));
      }
      return [...dies, ...steps];
    }
    case 'has committed': {
      const { transaction, isMarked, isNoticed } = evaluator;
      if (!isNoticed) {
        const notices = withNew(state.notices, transaction.events);
        return [...dies, step('stores notices', become({ ...evaluator, isNoticed: true }, { ...state, notices }))];
      }
      if (!isMarked && rules.dirtyMark) {
        return [...dies, step('marks late', become({ ...evaluator, isMarked: true }, marked(state, transaction)))];
      }
      const { base, at, alert } = transaction;
      const next = kept(state, { version: base + 1, evaluatedAt: at, alert }, at, rules);
      return [...dies, step(`keeps version ${base + 1}`, become(undefined, next))];
    }
  }
}

/** Folds the facts of the minutes since the last evaluation. */
function decided(
  { isDeleted }: State,
  { minute, state }: Extract<Evaluator, { at: 'reads facts' }>,
): Evaluator | undefined {
  if (minute <= state.evaluatedAt) return undefined;
  let { alert } = state;
  const events: string[] = [];
  for (let each = state.evaluatedAt + 1; each <= minute; each += 1) {
    const isFailing = fails[each - 1] === true && !isDeleted;
    if (isFailing === alert.isFiring) continue;
    const episode = isFailing ? alert.episode + 1 : alert.episode;
    alert = { isFiring: isFailing, isAcknowledged: false, episode };
    events.push(`${isFailing ? 'fired' : 'resolved'} ${episode}`);
  }
  if (events.length === 0) return { at: 'notes', minute, version: state.version };
  return { at: 'marks', transaction: { base: state.version, at: minute, alert, events } };
}
