import { allFail, isStored, type Step } from './flusher.ts';
import type { Bounds, Rules } from './rules.ts';
import { type BatchId, type Buffer, type Insert, partitionOf, type Row, type State } from './state.ts';

/** Writers, and a buffer that fails over to a replica which lags. */
export function bufferSteps(state: State, bounds: Bounds): Step[] {
  const { buffer, replica } = state;
  const steps: Step[] = [];
  if (buffer.ids.length < bounds.batches.length) {
    const id: BatchId = `${buffer.ids.length + 1}.${state.incarnation}`;
    steps.push({
      name: `batch ${id} is acknowledged`,
      next: { ...state, buffer: { ...buffer, ids: [...buffer.ids, id] } },
    });
  }
  if (bounds.failovers === 0) return steps;
  if (buffer !== replica) steps.push({ name: 'the replica catches up', next: { ...state, replica: buffer } });
  if (state.left.failovers > 0) {
    const left = { ...state.left, failovers: state.left.failovers - 1 };
    const restored: Buffer = { ...replica };
    const next = { ...state, buffer: restored, replica: restored, incarnation: state.incarnation + 1, left };
    steps.push({ name: 'the buffer fails over', next });
  }
  return steps;
}

/** ClickHouse: each insert commits partition by partition, and remembers its token before the rows are there. */
export function serverSteps(state: State, rules: Rules): Step[] {
  const steps: Step[] = [];
  const told = new Set<string>();
  state.inserts.forEach((insert, i) => {
    const same = JSON.stringify(insert);
    if (told.has(same)) return;
    told.add(same);
    const others = state.inserts.filter((_, j) => j !== i);
    const change = (changed: Insert): Insert[] => [...others, changed];
    if (insert.left === undefined) {
      const left = rules.question ? insert.rows.filter((row) => !isStored(state.stored, row)) : insert.rows;
      steps.push({
        name: `the server begins ${insert.token}`,
        next: { ...state, inserts: change({ ...insert, left }) },
      });
      return;
    }
    const [first] = insert.left;
    if (first === undefined) {
      const flushers = state.flushers.map((flusher, j) => {
        return j === insert.owner && flusher.at === 'waiting' ? { ...flusher, at: 'answered' as const } : flusher;
      });
      steps.push({ name: `the server answers ${insert.token}`, next: { ...state, inserts: others, flushers } });
      return;
    }
    const partition = partitionOf(first);
    const block = insert.left.filter((row) => partitionOf(row) === partition);
    const left = insert.left.filter((row) => partitionOf(row) !== partition);
    const entry = `${partition} ${insert.token}`;
    const isRemembered = rules.window && state.log.includes(entry);
    const stored: Row[] = isRemembered ? state.stored : [...state.stored, ...block];
    const log = isRemembered ? state.log : [...state.log, entry];
    const verb = isRemembered ? 'drops' : 'stores';
    steps.push({
      name: `the server ${verb} partition ${partition} of ${insert.token}`,
      next: { ...state, stored, log, inserts: change({ ...insert, left }) },
    });
    if (state.left.kills > 0 && !isRemembered) {
      const next = { ...killed(state, rules), log };
      steps.push({ name: `the server is killed between the token and the rows of partition ${partition}`, next });
    }
  });
  if (state.left.kills > 0 && state.inserts.length > 0) {
    steps.push({ name: 'the server is killed', next: killed(state, rules) });
  }
  return steps;
}

function killed(state: State, rules: Rules): State {
  const left = { ...state.left, kills: state.left.kills - 1 };
  // Only what has reached the server dies with it; what is still on the way comes later.
  const inserts = state.inserts.filter((insert) => insert.left === undefined && insert.owner === undefined);
  return { ...state, inserts, flushers: allFail(state, rules), left };
}
