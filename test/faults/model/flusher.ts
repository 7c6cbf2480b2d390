import type { Bounds, Rules } from './rules.ts';
import { batchOf, type Flusher, partitionOf, type Row, rowsOf, type Seal, type State, sequenceOf } from './state.ts';

/** A step somebody can take: what it is, and the state after it. */
export type Step = { name: string; next: State };

const idle: Flusher = { at: 'idle', seal: undefined, attempt: 0, isWhole: false };

/** What each flusher can do next. */
export function flusherSteps(state: State, rules: Rules, bounds: Bounds): Step[] {
  return state.flushers.flatMap((flusher, i) => {
    const become = (changed: Flusher, others: Partial<State> = {}): State => ({
      ...state,
      ...others,
      flushers: state.flushers.map((each, j) => (j === i ? changed : each)),
    });
    const name = (what: string) => `flusher ${i + 1}: ${what}`;
    const steps: Step[] = [];
    const { seal } = flusher;
    if (flusher.at === 'idle') {
      const sealed = sealNext(state, rules);
      if (sealed !== undefined) {
        const { epoch, ids } = sealed;
        const buffer = { ...state.buffer, seal: sealed, epoch };
        steps.push({
          name: name(`seals ${ids}`),
          next: become({ ...idle, at: 'sealed', seal: sealed }, { buffer }),
        });
      }
      return steps;
    }
    if (seal === undefined) return steps;
    if (flusher.at === 'sealed') {
      const isSafe = !bounds.waits || !rules.waitForReplica || isSame(state.replica.seal, seal);
      steps.push(
        isSafe
          ? { name: name('knows its seal safe'), next: become({ ...flusher, at: 'ready' }) }
          : { name: name('waits for the replica in vain'), next: become(idle) },
      );
    }
    if (flusher.at === 'ready') {
      const insert = { owner: i, ...request(state, rules, bounds, seal, flusher.attempt), left: undefined };
      steps.push({
        name: name(`sends ${insert.token}`),
        next: become({ ...flusher, at: 'waiting' }, { inserts: [...state.inserts, insert] }),
      });
    }
    if (flusher.at === 'waiting' && state.left.timeouts > 0) {
      const left = { ...state.left, timeouts: state.left.timeouts - 1 };
      const next = become(afterError(flusher, rules, bounds), { inserts: disown(state, i), left });
      steps.push({ name: name('waits no longer'), next });
    }
    const current = state.buffer.seal;
    const isHeld =
      current !== undefined &&
      current.epoch === seal.epoch &&
      String(current.ids) === String(seal.ids) &&
      String(current.skip) === String(seal.skip);
    /** With another skip list, from the start; for nobody but who holds the seal with the list that is replaced. */
    const withSkip = (skip: Row[]): State => {
      if (!isHeld) return become(idle);
      const changed = { ...seal, skip };
      return become({ ...idle, at: 'ready', seal: changed }, { buffer: { ...state.buffer, seal: changed } });
    };
    if (flusher.at === 'refused') {
      const isAtFault = state.refuses && bounds.poison !== undefined;
      const what = isAtFault ? `finds ${bounds.poison}` : 'finds no row at fault';
      const next = isAtFault ? withSkip([bounds.poison as Row]) : become(idle);
      steps.push({ name: name(what), next });
    }
    if (flusher.at === 'answered') {
      const isOfSeal = (row: Row) => {
        if (!rules.identity) return sequenceOf(row) >= seal.from && sequenceOf(row) <= seal.to;
        return seal.ids.some((id) => row.startsWith(`${id} `));
      };
      const found = state.stored.filter(isOfSeal);
      const expected = rowsOf(bounds, seal.ids).filter((row) => !seal.skip.includes(row));
      // What is missing of a batch that was complete before has been deleted since.
      const isNew = (row: Row) => !state.whole.includes(batchOf(row));
      const isWhole =
        found.length === expected.length ||
        (rules.finished && found.filter(isNew).length === expected.filter(isNew).length);
      const at = seal.skip.length > 0 && rules.storedIsNotSkipped ? 'present' : undefined;
      const counting = { ...flusher, isWhole };
      steps.push({
        name: name(`counts ${found.length}`),
        next: become(at === undefined ? afterCount(counting, rules, bounds) : { ...counting, at }),
      });
    }
    if (flusher.at === 'present') {
      const stored = seal.skip.filter((row) => isStored(state.stored, row, rules));
      steps.push({
        name: name(`sees ${stored.length} of the rows that it skipped`),
        next:
          stored.length > 0
            ? withSkip(seal.skip.filter((row) => !stored.includes(row)))
            : become(afterCount(flusher, rules, bounds)),
      });
    }
    if (flusher.at === 'counted' && seal.skip.length > 0) {
      const quarantine = [...new Set([...state.quarantine, ...seal.skip])];
      steps.push({ name: name(`sets ${seal.skip} aside`), next: become({ ...flusher, at: 'aside' }, { quarantine }) });
    }
    if (flusher.at === 'aside' || (flusher.at === 'counted' && seal.skip.length === 0)) {
      const heartbeats = [...new Set([...state.heartbeats, seal.ids.at(-1) ?? '0.0'])];
      const whole = [...new Set([...state.whole, ...(rules.eachBatch ? seal.ids : seal.ids.slice(-1))])];
      steps.push({
        name: name(`says that ${seal.ids} are there`),
        next: become({ ...flusher, at: 'told' }, { heartbeats, whole }),
      });
    }
    if (flusher.at === 'told') {
      const may = isHeld || !rules.publishNeedsSeal;
      const w = Math.min(seal.to, state.buffer.ids.length);
      const buffer = { ...state.buffer, w, trimmed: Math.max(w, state.buffer.trimmed), seal: undefined };
      steps.push({
        name: name(may ? `publishes ${seal.ids}` : 'is fenced'),
        next: become(idle, may ? { buffer } : {}),
      });
    }
    if (state.left.deaths > 0) {
      const left = { ...state.left, deaths: state.left.deaths - 1 };
      steps.push({ name: name('dies'), next: become(idle, { inserts: disown(state, i), left }) });
    }
    return steps;
  });
}

/** One step with reading the payloads; in the real thing a script, or checked gapless against the seal. */
function sealNext({ buffer, life }: State, rules: Rules): Seal | undefined {
  if (buffer.seal !== undefined && rules.takeOver) return buffer.seal;
  if (buffer.ids.length === buffer.w) return undefined;
  const ids = buffer.ids.slice(buffer.w);
  // Writes come later than a failover, and so does the clock.
  const epoch = rules.newEpochs ? Math.max(buffer.epoch + 1, life * 100) : buffer.epoch + 1;
  return { from: buffer.w + 1, to: buffer.ids.length, epoch, ids, life, skip: [] };
}

/** The very same, not one that looks alike and was made after a failover: WAIT speaks of what its own primary wrote. */
function isSame(replicated: Seal | undefined, seal: Seal): boolean {
  return replicated !== undefined && replicated.life === seal.life && String(replicated.ids) === String(seal.ids);
}

function request(
  state: State,
  rules: Rules,
  bounds: Bounds,
  seal: Seal,
  attempt: number,
): { token: string; rows: Row[] } {
  const all = rowsOf(bounds, seal.ids).filter((row) => !seal.skip.includes(row));
  const token = `${seal.from}-${seal.to}:${seal.ids}${attempt > 0 ? `:r${attempt}` : ''}`;
  if (rules.tokenOfSeal) return { token, rows: all };
  const rows = all.filter((row) => !isStored(state.stored, row, rules));
  return { token: `${token}:${rows}`, rows };
}

/** By the batch that it was sent with, and its place in it. */
export function isStored(stored: Row[], row: Row, { identity }: Rules): boolean {
  if (identity) return stored.includes(row);
  return stored.some((each) => sequenceOf(each) === sequenceOf(row) && partitionOf(each) === partitionOf(row));
}

function afterError(flusher: Flusher, rules: Rules, { repairs }: Bounds): Flusher {
  if (rules.startOverAfterError) return idle;
  return flusher.attempt < repairs ? { ...flusher, at: 'ready', attempt: flusher.attempt + 1 } : idle;
}

/** All that was sent is there, or something is missing. */
function afterCount(flusher: Flusher, rules: Rules, bounds: Bounds): Flusher {
  return !rules.count || flusher.isWhole
    ? { ...flusher, at: 'counted', isWhole: false }
    : afterMissing(flusher, rules, bounds);
}

function afterMissing(flusher: Flusher, rules: Rules, { repairs }: Bounds): Flusher {
  if (!rules.repairTokens) return { ...flusher, at: 'ready', isWhole: false };
  return flusher.attempt < repairs ? { ...flusher, at: 'ready', attempt: flusher.attempt + 1, isWhole: false } : idle;
}

/** What a flusher has sent goes its way without it. */
function disown({ inserts }: State, owner: number) {
  return inserts.map((insert) => (insert.owner === owner ? { ...insert, owner: undefined } : insert));
}

/** Every flusher that waits for an answer gets an error: the server is gone. */
export function allFail(state: State, rules: Rules, bounds: Bounds): Flusher[] {
  return state.flushers.map((flusher) => (flusher.at === 'waiting' ? afterError(flusher, rules, bounds) : flusher));
}
