import { flusherSteps, type Step } from './flusher.ts';
import { readerSteps } from './reader.ts';
import type { Bounds, Rules } from './rules.ts';
import { batchOf, initialState, keyOf, type Row, rowsOf, type State } from './state.ts';
import { bufferSteps, serverSteps } from './stores.ts';

export type Found = { violation: string; steps: string[] };
export type Result = { states: number; complete: boolean; found: Found | undefined };

function stepsOf(state: State, rules: Rules, bounds: Bounds): Step[] {
  return [
    ...bufferSteps(state, bounds),
    ...flusherSteps(state, rules, bounds),
    ...serverSteps(state, rules, bounds),
    ...readerSteps(state, rules, bounds),
  ];
}

/** What is wrong with a state, if anything. */
function violationOf(state: State, bounds: Bounds): string | undefined {
  const { buffer, stored, reader, quarantine, replayed, deleted } = state;
  const twice = stored.find((row, i) => stored.indexOf(row) !== i);
  if (twice !== undefined) return `row ${twice} is in ClickHouse twice`;
  const published = rowsOf(bounds, buffer.ids.slice(0, buffer.w));
  const again = replayed.find((row) => stored.includes(row));
  if (again !== undefined) return `row ${again} was sent again, and is in ClickHouse`;
  const back = deleted.find((row) => stored.includes(row));
  if (back !== undefined) return `row ${back} was deleted, and is in ClickHouse`;
  const aside = [...quarantine, ...replayed, ...deleted];
  const lost = published.find((row) => !stored.includes(row) && !aside.includes(row));
  if (lost !== undefined) return `row ${lost} is published and trimmed, and not in ClickHouse`;
  if (buffer.w < buffer.trimmed) return `batch ${buffer.trimmed} is trimmed, and pending again`;
  return reader.at === 'done' ? wrongAnswer(state, bounds) : undefined;
}

function wrongAnswer({ reader, buffer, life }: State, bounds: Bounds): string | undefined {
  if (reader.known.length === 0 && reader.answer.length === 0) return undefined;
  const times = (row: Row) => reader.answer.filter((each) => each === row).length;
  for (const row of rowsOf(bounds, reader.known)) {
    if (times(row) !== 1) return `row ${row}, acknowledged before the query, is in its answer ${times(row)} times`;
  }
  for (const row of reader.answer) {
    if (times(row) > 1) return `row ${row} is in the answer ${times(row)} times`;
    const id = batchOf(row);
    const whole = rowsOf(bounds, [id]);
    // Where nobody waits for the replica, what a failover has lost may be there in part, and to a fenced query that was
    // under way during it, what came after it.
    const isSpared = reader.fenced && reader.life !== life;
    const isOurs = bounds.waits || reader.known.includes(id) || (buffer.ids.includes(id) && !isSpared);
    if (isOurs && !whole.every((each) => reader.answer.includes(each))) return `batch ${id} is in the answer in part`;
  }
  return undefined;
}

/** Everything acknowledged is published, and nobody has anything left to do. */
function isDone({ buffer, flushers }: State, bounds: Bounds): boolean {
  return buffer.w === bounds.batches.length && flushers.every(({ at }) => at === 'idle');
}

/** What can happen, and what must not. */
export type Machine<S> = {
  initial: S;
  steps(state: S): { name: string; next: S }[];
  /** What is wrong with a state, if anything. */
  violation(state: S): string | undefined;
  /** Whether nobody has anything left to do. */
  isDone(state: S): boolean;
  /** The same for states that do not differ. */
  key(state: S): string;
};

/** Searches the protocol of a lane. */
export function search(rules: Rules, bounds: Bounds, statesMax = Number.POSITIVE_INFINITY): Result {
  const machine: Machine<State> = {
    initial: initialState(bounds),
    steps: (state) => stepsOf(state, rules, bounds),
    violation: (state) => violationOf(state, bounds),
    isDone: (state) => isDone(state, bounds),
    key: keyOf,
  };
  return explore(machine, statesMax);
}

/**
 * Visits all states breadth first, so that what is found first is shortest. When nothing is wrong in any of them, checks
 * that from each the end can still be reached: nothing is stuck for ever.
 *
 * @param statesMax where to give up
 */
export function explore<S>(machine: Machine<S>, statesMax = Number.POSITIVE_INFINITY): Result {
  const states: S[] = [machine.initial];
  const numbers = new Map<string, number>([[machine.key(machine.initial), 0]]);
  const cameFrom: { state: number; step: string }[] = [{ state: -1, step: '' }];
  const before: number[][] = [[]];
  const path = (at: number): string[] => {
    const steps: string[] = [];
    for (let each = at; each > 0; each = cameFrom[each]?.state ?? 0) steps.unshift(cameFrom[each]?.step ?? '');
    return steps;
  };

  for (let at = 0; at < states.length; at += 1) {
    if (states.length > statesMax) return { states: states.length, complete: false, found: undefined };
    for (const { name, next } of machine.steps(states[at] as S)) {
      const key = machine.key(next);
      const known = numbers.get(key);
      if (known !== undefined) {
        before[known]?.push(at);
        continue;
      }
      const number = states.push(next) - 1;
      numbers.set(key, number);
      cameFrom.push({ state: at, step: name });
      before.push([at]);
      const violation = machine.violation(next);
      if (violation !== undefined) {
        return { states: states.length, complete: false, found: { violation, steps: path(number) } };
      }
    }
  }
  const stuck = firstStuck(states, before, machine.isDone);
  const found = stuck === undefined ? undefined : { violation: 'a lane is stuck for ever', steps: path(stuck) };
  return { states: states.length, complete: true, found };
}

/** Goes backward from every end; what it does not come to, cannot end. */
function firstStuck<S>(states: S[], before: number[][], isOver: (state: S) => boolean): number | undefined {
  const reaches = new Uint8Array(states.length);
  const queue = states.flatMap((state, i) => (isOver(state) ? [i] : []));
  for (const end of queue) reaches[end] = 1;
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    for (const each of before[at] ?? []) {
      if (reaches[each] === 1) continue;
      reaches[each] = 1;
      queue.push(each);
    }
  }
  const stuck = reaches.indexOf(0);
  return stuck === -1 ? undefined : stuck;
}
