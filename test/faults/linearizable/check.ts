/**
 * A linearizability checker: whether operations that ran at the same time can have happened one after the other, each at
 * one moment between its call and its return, so that every answer is what a sequential object would have answered.
 *
 * The search is Wing and Gong's (1993) with Lowe's memory of what was tried (2017): once the same operations have been
 * linearized to the same state in another order, going on from there cannot come to anything else. Objects that share no
 * state are checked one by one, since a history is linearizable if that of each object is (Herlihy and Wing, 1990).
 *
 * @module
 */

/** An operation as its client saw it, by one monotonic clock. */
export type Operation<Action> = {
  action: Action;
  call: number;
  /** Infinity for one of which nobody knows whether it happened: it may have, at any moment after its call, or never. */
  return: number;
};

/** A sequential object. States are values: they are never changed in place. */
export type Model<State, Action> = {
  initial: State;
  /** The state after an action, or undefined when the action cannot have had its answer in this state. */
  apply(state: State, action: Action): State | undefined;
  /** The same text for equal states, another one for others. */
  keyOf(state: State): string;
};

/** A call or a return, in a list that is linked both ways so that an operation can be taken out and put back. */
type Entry = {
  operation: number;
  /** Of a call: its return, unless it may never have happened. */
  match: Entry | undefined;
  isCall: boolean;
  previous: Entry | undefined;
  next: Entry | undefined;
};

/** Steps of a search after which it has lost its way among too many that are possible. */
const steps_max = 20_000_000;

/** Throws RangeError where the answer cannot be found in reasonable time: too much was under way at once for too long. */
export function isLinearizable<State, Action>(model: Model<State, Action>, operations: Operation<Action>[]): boolean {
  const head = linked(operations);
  const tried = new Set<string>();
  const done = new Linearized(operations.length);
  const stack: { entry: Entry; before: State }[] = [];
  let state = model.initial;
  let required = operations.filter((each) => Number.isFinite(each.return)).length;
  let entry = head.next;
  for (let steps = 0; required > 0; steps += 1) {
    if (steps > steps_max) throw new RangeError('the history leaves too many orders open to try them all');
    const action = entry?.isCall ? operations[entry.operation]?.action : undefined;
    if (entry !== undefined && action !== undefined) {
      const next = model.apply(state, action);
      if (next !== undefined) {
        done.add(entry.operation);
        const key = `${done.key()} ${model.keyOf(next)}`;
        if (!tried.has(key)) {
          tried.add(key);
          stack.push({ entry, before: state });
          state = next;
          if (entry.match !== undefined) required -= 1;
          takeOut(entry);
          entry = head.next;
          continue;
        }
        done.remove(entry.operation);
      }
      entry = entry.next;
      continue;
    }
    // A return of something that is not linearized yet, or the end of the list: the last choice was wrong.
    const last = stack.pop();
    if (last === undefined) return false;
    state = last.before;
    done.remove(last.entry.operation);
    if (last.entry.match !== undefined) required += 1;
    putBack(last.entry);
    entry = last.entry.next;
  }
  return true;
}

/** Calls and returns by their times. Of one moment a call comes first: then both orders are possible. */
function linked<Action>(operations: Operation<Action>[]): Entry {
  const events = operations.flatMap((operation, i) => {
    const result: Entry = { operation: i, match: undefined, isCall: false, previous: undefined, next: undefined };
    const call: Entry = { ...result, isCall: true };
    if (!Number.isFinite(operation.return)) return [{ at: operation.call, entry: call }];
    call.match = result;
    return [
      { at: operation.call, entry: call },
      { at: operation.return, entry: result },
    ];
  });
  events.sort((a, b) => a.at - b.at || Number(b.entry.isCall) - Number(a.entry.isCall));
  const head: Entry = { operation: -1, match: undefined, isCall: false, previous: undefined, next: undefined };
  let last = head;
  for (const { entry } of events) {
    last.next = entry;
    entry.previous = last;
    last = entry;
  }
  return head;
}

function takeOut(call: Entry): void {
  for (const entry of [call, call.match]) {
    if (entry === undefined) continue;
    if (entry.previous !== undefined) entry.previous.next = entry.next;
    if (entry.next !== undefined) entry.next.previous = entry.previous;
  }
}

/** In the other order, since the two may stand beside each other. */
function putBack(call: Entry): void {
  for (const entry of [call.match, call]) {
    if (entry === undefined) continue;
    if (entry.previous !== undefined) entry.previous.next = entry;
    if (entry.next !== undefined) entry.next.previous = entry;
  }
}

/** A set of operations, named by all up to the first that is missing and those after it, which are few. */
class Linearized {
  readonly #has: Uint8Array;
  #first = 0;
  #end = 0;

  constructor(size: number) {
    this.#has = new Uint8Array(size);
  }

  add(operation: number): void {
    this.#has[operation] = 1;
    while (this.#has[this.#first] === 1) this.#first += 1;
    this.#end = Math.max(this.#end, operation + 1);
  }

  remove(operation: number): void {
    this.#has[operation] = 0;
    this.#first = Math.min(this.#first, operation);
    while (this.#end > 0 && this.#has[this.#end - 1] === 0) this.#end -= 1;
  }

  key(): string {
    let key = `${this.#first}`;
    for (let i = this.#first; i < this.#end; i += 1) if (this.#has[i] === 1) key += `,${i}`;
    return key;
  }
}
