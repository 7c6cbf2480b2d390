import { allFail, isStored, type Step } from './flusher.ts';
import type { Bounds, Rules } from './rules.ts';
import {
  type BatchId,
  type Buffer,
  batchOf,
  type Insert,
  lifeOf,
  partitionOf,
  type Row,
  rowsOf,
  type State,
  sequenceOf,
} from './state.ts';

/** Writers, and a buffer that fails over to a replica which lags: any number of its last writes are undone. */
export function bufferSteps(state: State, bounds: Bounds): Step[] {
  const { buffer, replica } = state;
  const steps: Step[] = [];
  if (buffer.ids.length < bounds.batches.length) {
    const id: BatchId = `${buffer.ids.length + 1}.${state.life}`;
    steps.push({
      name: `batch ${id} is acknowledged`,
      next: { ...state, buffer: { ...buffer, ids: [...buffer.ids, id] } },
    });
  }
  if (bounds.failovers === 0) return steps;
  const shown = caughtUp(state);
  if (shown !== undefined) steps.push({ name: 'the lane catches up with ClickHouse', next: shown });
  if (buffer !== replica) steps.push({ name: 'the replica catches up', next: { ...state, replica: buffer } });
  if (state.left.failovers > 0) {
    const left = { ...state.left, failovers: state.left.failovers - 1 };
    const restored: Buffer = { ...replica };
    const lost = [...state.lost, ...buffer.ids.filter((id) => !replica.ids.includes(id))];
    const next = { ...state, buffer: restored, replica: restored, life: state.life + 1, lost, left };
    steps.push({ name: 'the buffer fails over', next });
  }
  return steps;
}

/** With nothing waiting: heartbeats speak of batches beyond the watermark, all rows of which are there. */
function caughtUp(state: State): State | undefined {
  const { buffer, heartbeats, lost } = state;
  const furthest = heartbeats.toSorted((a, b) => sequenceOf(b) - sequenceOf(a))[0];
  if (furthest === undefined || buffer.seal !== undefined || buffer.w < buffer.ids.length) return undefined;
  if (sequenceOf(furthest) <= buffer.w) return undefined;
  // The batches that the heartbeat is of: those of its life, or of the last before it, that were acknowledged in their place.
  const ids = [...buffer.ids];
  for (let seq = buffer.w + 1; seq < sequenceOf(furthest); seq += 1) {
    const earlier = lost.filter((id) => sequenceOf(id) === seq && lifeOf(id) <= lifeOf(furthest));
    ids.push(earlier.toSorted((a, b) => lifeOf(a) - lifeOf(b)).at(-1) ?? furthest);
  }
  ids.push(furthest);
  const w = ids.length;
  const next = { ...buffer, ids, w, trimmed: Math.max(w, buffer.trimmed), epoch: buffer.epoch + 1 };
  return { ...state, buffer: next, lost: lost.filter((id) => !ids.includes(id)) };
}

/** ClickHouse: each insert commits partition by partition, and remembers its token before the rows are there. */
export function serverSteps(state: State, rules: Rules, bounds: Bounds): Step[] {
  const { poison } = bounds;
  const steps: Step[] = poison === undefined ? [] : operatorSteps(state, rules, poison as Row);
  if (bounds.deletes) steps.push(...deletionSteps(state, rules, bounds));
  const told = new Set<string>();
  state.inserts.forEach((insert, i) => {
    const same = JSON.stringify(insert);
    if (told.has(same)) return;
    told.add(same);
    const others = state.inserts.filter((_, j) => j !== i);
    const change = (changed: Insert): Insert[] => [...others, changed];
    const isAside = rules.asideStaysOut && [...state.quarantine, ...state.replayed].includes(poison as Row);
    const sendsPoison =
      insert.rows.includes(poison as Row) && !isAside && !isStored(state.stored, poison as Row, rules);
    if (insert.left === undefined && state.refuses && sendsPoison) {
      const flushers = state.flushers.map((flusher, j) => {
        return j === insert.owner && flusher.at === 'waiting' ? { ...flusher, at: 'refused' as const } : flusher;
      });
      steps.push({ name: `the server refuses ${insert.token}`, next: { ...state, inserts: others, flushers } });
      return;
    }
    if (insert.left === undefined) {
      const aside = rules.asideStaysOut ? [...state.quarantine, ...state.replayed] : [];
      const isOver = (row: Row) => rules.finished && state.whole.includes(batchOf(row));
      const isBeside = others.some(({ token, left }) => left !== undefined && token !== insert.token);
      const isWanted = (row: Row) => !aside.includes(row) && !isOver(row);
      const wanted = rules.alone && isBeside ? [] : insert.rows.filter(isWanted);
      const left = rules.question ? wanted.filter((row) => !isStored(state.stored, row, rules)) : wanted;
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
      const next = { ...killed(state, rules, bounds), log };
      steps.push({ name: `the server is killed between the token and the rows of partition ${partition}`, next });
    }
  });
  if (state.left.kills > 0 && state.inserts.length > 0) {
    steps.push({ name: 'the server is killed', next: killed(state, rules, bounds) });
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
  if (isStored(stored, poison, rules)) {
    return [{ name: `${poison} turns out to be stored`, next: { ...state, quarantine: rest } }];
  }
  const replayed = [...state.replayed, poison];
  return [{ name: `${poison} is sent again`, next: { ...state, quarantine: rest, replayed } }];
}

/** Somebody deletes what is published, once. A part that has lost its last row takes the tokens of its partition along. */
function deletionSteps(state: State, rules: Rules, bounds: Bounds): Step[] {
  const { buffer, inserts, deleted } = state;
  const rows = rowsOf(bounds, buffer.ids.slice(0, buffer.w));
  const isRunning = inserts.some(({ left }) => left !== undefined);
  if (deleted.length > 0 || rows.length === 0 || (rules.deletionWaits && isRunning)) return [];
  const stored = state.stored.filter((row) => !rows.includes(row));
  const log = state.log.filter((entry) => stored.some((row) => partitionOf(row) === entry.split(' ')[0]));
  return [{ name: `${rows} are deleted`, next: { ...state, stored, log, deleted: rows } }];
}

function killed(state: State, rules: Rules, bounds: Bounds): State {
  const left = { ...state.left, kills: state.left.kills - 1 };
  // Only what has reached the server dies with it; what is still on the way comes later.
  const inserts = state.inserts.filter((insert) => insert.left === undefined && insert.owner === undefined);
  return { ...state, inserts, flushers: allFail(state, rules, bounds), left };
}
