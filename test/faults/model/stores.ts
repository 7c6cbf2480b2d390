import { allFail, isStored, type Step } from './flusher.ts';
import type { Bounds, Rules } from './rules.ts';
import { type BatchId, type Buffer, type Insert, partitionOf, type Row, type State, sequenceOf } from './state.ts';

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
export function serverSteps(state: State, rules: Rules, { poison }: Bounds): Step[] {
  const steps: Step[] = poison === undefined ? [] : operatorSteps(state, rules, poison as Row);
  const told = new Set<string>();
  state.inserts.forEach((insert, i) => {
    const same = JSON.stringify(insert);
    if (told.has(same)) return;
    told.add(same);
    const others = state.inserts.filter((_, j) => j !== i);
    const change = (changed: Insert): Insert[] => [...others, changed];
    const isAside = rules.asideStaysOut && [...state.quarantine, ...state.replayed].includes(poison as Row);
    const sendsPoison = insert.rows.includes(poison as Row) && !isAside && !isStored(state.stored, poison as Row);
    if (insert.left === undefined && state.refuses && sendsPoison) {
      const flushers = state.flushers.map((flusher, j) => {
        return j === insert.owner && flusher.at === 'waiting' ? { ...flusher, at: 'refused' as const } : flusher;
      });
      steps.push({ name: `the server refuses ${insert.token}`, next: { ...state, inserts: others, flushers } });
      return;
    }
    if (insert.left === undefined) {
      const aside = rules.asideStaysOut ? [...state.quarantine, ...state.replayed] : [];
      const wanted = insert.rows.filter((row) => !aside.includes(row));
      const left = rules.question ? wanted.filter((row) => !isStored(state.stored, row)) : wanted;
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

/** Somebody mends the table, and sends what is in quarantine again: as a new row, unless ClickHouse has it by now. */
function operatorSteps(state: State, rules: Rules, poison: Row): Step[] {
  const { quarantine, inserts, stored, buffer } = state;
  if (state.refuses) return [{ name: 'somebody mends the table', next: { ...state, refuses: false } }];
  const isPublished = sequenceOf(poison) <= buffer.w;
  const isOnItsWay = inserts.some(({ left }) => left?.includes(poison));
  if (!quarantine.includes(poison) || !isPublished || (rules.replayWaits && isOnItsWay)) return [];
  const rest = quarantine.filter((row) => row !== poison);
  if (isStored(stored, poison)) {
    return [{ name: `${poison} turns out to be stored`, next: { ...state, quarantine: rest } }];
  }
  const replayed = [...state.replayed, poison];
  return [{ name: `${poison} is sent again`, next: { ...state, quarantine: rest, replayed } }];
}

function killed(state: State, rules: Rules): State {
  const left = { ...state.left, kills: state.left.kills - 1 };
  // Only what has reached the server dies with it; what is still on the way comes later.
  const inserts = state.inserts.filter((insert) => insert.left === undefined && insert.owner === undefined);
  return { ...state, inserts, flushers: allFail(state, rules), left };
}
