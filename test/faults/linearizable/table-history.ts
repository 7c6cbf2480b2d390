import { isLinearizable, type Model, type Operation } from './check.ts';

/**
 * What a client did with one table. A write is one batch, however often it was sent under its key. A read has the batches
 * that its answer showed, or, of an aggregate, how many rows there were.
 */
export type Action =
  | { do: 'write'; batch: string; rows: number }
  | { do: 'read'; how: string; batches: ReadonlySet<string> }
  | { do: 'count'; how: string; rows: number };

type State = { batches: ReadonlySet<string>; rows: number };

/**
 * A table as a sequential object: the set of the batches that were written to it, each of which it has as a whole and once.
 * Batches only come, so a state is known by what it has.
 */
export const table: Model<State, Action> = {
  initial: { batches: new Set(), rows: 0 },
  apply(state, action) {
    switch (action.do) {
      case 'write':
        return { batches: new Set([...state.batches, action.batch]), rows: state.rows + action.rows };
      case 'read':
        return isSame(state.batches, action.batches) ? state : undefined;
      case 'count':
        return state.rows === action.rows ? state : undefined;
    }
  },
  // Which writes were linearized is part of what the checker remembers.
  keyOf: () => '',
};

function isSame(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && isWithin(a, b);
}

function isWithin(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  for (const each of a) if (!b.has(each)) return false;
  return true;
}

/** Whether all answers about one table can be explained. */
export function isExplained(history: Operation<Action>[]): boolean {
  const narrowed = narrow(history);
  return narrowed !== undefined && isLinearizable(table, narrowed);
}

/**
 * The same history with every write as late and as early as reads that show batches leave it: it happened before a read that
 * shows it returned, and after one that does not show it was called. That takes nothing from what is possible, and spares
 * the search most of its wrong turns, above all those of writes whose outcome nobody knows.
 *
 * @returns undefined where a write has no time left, or a read shows a batch that nobody wrote
 */
function narrow(history: Operation<Action>[]): Operation<Action>[] | undefined {
  const reads = history.flatMap((each) =>
    each.action.do === 'read' ? [{ ...each, batches: each.action.batches }] : [],
  );
  const written = new Set(history.flatMap(({ action }) => (action.do === 'write' ? [action.batch] : [])));
  if (reads.some(({ batches }) => !isWithin(batches, written))) return undefined;
  const narrowed: Operation<Action>[] = [];
  for (const each of history) {
    const { action } = each;
    if (action.do !== 'write') {
      narrowed.push(each);
      continue;
    }
    let { call, return: end } = each;
    for (const read of reads) {
      if (read.batches.has(action.batch)) end = Math.min(end, read.return);
      else call = Math.max(call, read.call);
    }
    if (call > end) return undefined;
    narrowed.push({ action, call, return: end });
  }
  return narrowed;
}

/**
 * The fewest operations of a history that cannot be explained, of which each is needed: the first moment at which it cannot,
 * and then without whatever may go.
 */
export function smallestViolation(history: Operation<Action>[]): Operation<Action>[] {
  const ends = history
    .map((each) => each.return)
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  // What is explained up to a moment is explained up to every earlier one.
  let [low, high] = [0, ends.length - 1];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (isExplained(until(history, ends[middle] ?? 0))) low = middle + 1;
    else high = middle;
  }
  let left = until(history, ends[low] ?? 0);
  for (let size = Math.ceil(left.length / 2); ; size = Math.ceil(size / 2)) {
    for (let from = 0; from < left.length; ) {
      const fewer = without(left, new Set(left.slice(from, from + size)));
      if (isExplained(fewer)) from += size;
      else left = fewer;
    }
    if (size === 1) return left;
  }
}

/** As it was known at a moment: what had not returned by then may not have happened, and its answer is not known. */
function until(history: Operation<Action>[], moment: number): Operation<Action>[] {
  return history.flatMap((each) => {
    if (each.call > moment) return [];
    if (each.return <= moment) return [each];
    return each.action.do === 'write' ? [{ ...each, return: Number.POSITIVE_INFINITY }] : [];
  });
}

/** Without some operations, and without the batches of those that were writes in what reads show. */
function without(history: Operation<Action>[], gone: Set<Operation<Action>>): Operation<Action>[] {
  const batches = new Set([...gone].flatMap(({ action }) => (action.do === 'write' ? [action.batch] : [])));
  const left = history.filter((each) => !gone.has(each));
  if (batches.size === 0) return left;
  return left.flatMap((each): Operation<Action>[] => {
    const { action } = each;
    // A number of rows says nothing any more once rows are left out.
    if (action.do === 'count') return [];
    if (action.do === 'write') return [each];
    const shown = new Set([...action.batches].filter((batch) => !batches.has(batch)));
    return [{ ...each, action: { ...action, batches: shown } }];
  });
}

/** What an answer's rows show. Nobody wrote a batch of which there is only a part, or a row twice: it is shown as what it is. */
export function batchesShown(ids: string[], rowsOf: (batch: string) => number): ReadonlySet<string> {
  const shown = Map.groupBy(ids, (id) => id.split('/')[0] ?? '');
  return new Set(
    [...shown].map(([batch, rows]) => {
      const distinct = new Set(rows).size;
      if (distinct < rows.length) return `${batch} with a row twice`;
      return distinct === rowsOf(batch) ? batch : `${batch} with ${distinct} of ${rowsOf(batch)} rows`;
    }),
  );
}

/** A history for people: in the order of calls, with what each showed that not all did. */
export function describeHistory(history: Operation<Action>[]): string {
  const first = Math.min(...history.map(({ call }) => call));
  const ms = (at: number) => (Number.isFinite(at) ? `${(at - first).toFixed(1)} ms` : 'never known');
  return [...history]
    .sort((a, b) => a.call - b.call)
    .map(({ action, call, return: end }) => `  ${ms(call)} – ${ms(end)}  ${describeAction(action)}`)
    .join('\n');
}

function describeAction(action: Action): string {
  switch (action.do) {
    case 'write':
      return `write ${action.batch} (${action.rows} rows)`;
    case 'read':
      return `read by ${action.how}: ${[...action.batches].join(', ') || 'nothing'}`;
    case 'count':
      return `count by ${action.how}: ${action.rows} rows`;
  }
}
