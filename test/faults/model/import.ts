import { explore, type Machine, type Result } from './search.ts';

/** The rules of an import that look odd until they are taken out; what each is for is found again without it. */
export type ImportRules = {
  /** Readers are kept from the sequences before the first row is inserted. */
  sealFirst: boolean;
  /** That it has them is on record in the catalogue before the first row is inserted. */
  recordFirst: boolean;
  /** A lane that is set up again gets back what an import has of it by the catalogue. */
  restore: boolean;
  /** And no sequences that were chosen, and never taken. */
  restoreTaken: boolean;
  /** Writers that had come to the lane meanwhile are sent off it again then. */
  restoreLanes: boolean;
  /** An import that is done and does not show is published again. */
  showAgain: boolean;
  /** Writers do not come into the lane before the import is published. */
  writersOff: boolean;
  /** The catalogue lets one import of a table have sequences at a time. */
  oneAtATime: boolean;
  /** The insert itself asks, while it runs, which rows are there. */
  question: boolean;
  /** An import is published when its rows have been counted, not when the inserts were answered. */
  count: boolean;
};

export const importRules: ImportRules = {
  sealFirst: true,
  recordFirst: true,
  restore: true,
  restoreTaken: true,
  writersOff: true,
  oneAtATime: true,
  restoreLanes: true,
  showAgain: true,
  question: true,
  count: true,
};

export type ImportBounds = {
  imports: number;
  workers: number;
  losses: number;
  late: number;
  deaths: number;
  writes: number;
};

const nothing: ImportBounds = { imports: 1, workers: 1, losses: 0, late: 0, deaths: 0, writes: 0 };

export const importBounds: Record<string, ImportBounds> = {
  'two workers at once, and inserts that come late': { ...nothing, workers: 2, late: 1, deaths: 1 },
  'a buffer that loses everything': { ...nothing, losses: 1, deaths: 1 },
  'two imports, and a buffer that loses everything': { ...nothing, imports: 2, workers: 2, losses: 1 },
  'writers that want more lanes': { ...nothing, deaths: 1, writes: 1 },
  'writers that want more lanes, and a buffer that loses everything': { ...nothing, losses: 1, writes: 1 },
};

/** Chunks of each import. */
const chunks = 2;

/** A range of sequences, two chunks long. */
type Range = { from: number };
/** What the catalogue has on record of an import, and who works on it. */
type OnRecord = {
  seal: Range | undefined;
  isTaken: boolean;
  moved: number;
  isCounted: boolean;
  isDone: boolean;
  claim: number | undefined;
};
/** What the buffer knows of the lane, and of how many there are for writers. */
type Lane = {
  w: number;
  seq: number;
  epoch: number;
  seal: { owner: number; from: number } | undefined;
  keepsOff: boolean;
};
type Stored = { seq: number; owner: number };
type Worker = { import: number; copy: OnRecord; at: 'begun' | 'sealed' | 'inserted' | 'late'; next: Partial<OnRecord> };

type State = {
  records: OnRecord[];
  lane: Lane | undefined;
  lanes: 1 | 2;
  stored: Stored[];
  workers: (Worker | undefined)[];
  /** Inserts that come when nobody waits for them any more, with what they asked where they ask before they run. */
  late: Stored[];
  /** A batch of a writer that waits in the lane. */
  waits: number | undefined;
  reader: { seal: boolean; w: number; epoch: number; seen: Stored[] | undefined } | 'idle' | 'done';
  left: { losses: number; late: number; deaths: number; writes: number };
};

const writer = -1;

/** What nobody has on record lies so far behind what is seen. */
const gap = 4;

export function searchImports(rules: ImportRules, bounds: ImportBounds, statesMax?: number): Result {
  const fresh: OnRecord = {
    seal: undefined,
    isTaken: false,
    moved: 0,
    isCounted: false,
    isDone: false,
    claim: undefined,
  };
  const machine: Machine<State> = {
    initial: {
      records: Array.from({ length: bounds.imports }, () => fresh),
      lane: { w: 0, seq: 0, epoch: 0, seal: undefined, keepsOff: false },
      lanes: 1,
      stored: [],
      workers: Array.from({ length: bounds.workers }, () => undefined),
      late: [],
      waits: undefined,
      reader: 'idle',
      left: { losses: bounds.losses, late: bounds.late, deaths: bounds.deaths, writes: bounds.writes },
    },
    steps: (state) => [
      ...state.workers.flatMap((_, i) => workerSteps(state, i, rules)),
      ...surroundings(state, rules),
      ...readerSteps(state),
    ],
    violation,
    isDone: ({ records, workers, late, lane, waits }) =>
      records.every(({ isDone }) => isDone) &&
      workers.every((worker) => worker === undefined) &&
      late.length === 0 &&
      lane !== undefined &&
      waits === undefined,
    key: ({ stored, ...state }) => JSON.stringify([state, stored.map(({ seq, owner }) => `${seq}/${owner}`).sort()]),
  };
  return explore(machine, statesMax);
}

const has = (stored: Stored[], seq: number, owner: number) => {
  return stored.some((row) => row.seq === seq && row.owner === owner);
};

function violation({ stored, records, lane, reader, waits }: State): string | undefined {
  const twice = stored.find((row, i) => stored.findIndex(({ seq }) => seq === row.seq) !== i);
  if (twice !== undefined) return `sequence ${twice.seq} is of two`;
  if (waits !== undefined && stored.some(({ seq, owner }) => seq === waits && owner !== writer)) {
    return `sequence ${waits} is of two`;
  }
  for (const [owner, { seal, isDone }] of records.entries()) {
    if (!isDone || seal === undefined) continue;
    for (let seq = seal.from; seq < seal.from + chunks; seq += 1) {
      if (!has(stored, seq, owner)) return `import ${owner + 1} is done, and a chunk of it is not there`;
    }
    if (lane !== undefined && lane.seal === undefined && lane.w < seal.from + chunks - 1) {
      return `import ${owner + 1} is done, and does not show`;
    }
  }
  if (typeof reader === 'string' || reader.seen === undefined) return undefined;
  for (const owner of records.keys()) {
    const seen = reader.seen.filter((row) => row.owner === owner).length;
    if (seen > 0 && seen < chunks) return `import ${owner + 1} is in an answer in part`;
  }
  return undefined;
}

type Step = { name: string; next: State };

function workerSteps(state: State, i: number, rules: ImportRules): Step[] {
  const worker = state.workers[i];
  const become = (changed: Worker | undefined, others: Partial<State> = {}): State => ({
    ...state,
    ...others,
    workers: state.workers.map((each, j) => (j === i ? changed : each)),
  });
  const name = (what: string) => `worker ${i + 1}: ${what}`;
  if (worker === undefined) {
    return state.records.flatMap((record, number) => {
      if (record.isDone) return [];
      const begun: Worker = { import: number, copy: { ...record, claim: undefined }, at: 'begun', next: {} };
      // Whoever has it has not been heard of for a while.
      const records = state.records.map((each, j) => (j === number ? { ...each, claim: i } : each));
      return [{ name: name(`begins a step of import ${number + 1}`), next: become(begun, { records }) }];
    });
  }
  const { copy, import: number } = worker;
  const steps: Step[] = [];
  if (state.left.deaths > 0) {
    const left = { ...state.left, deaths: state.left.deaths - 1 };
    steps.push({ name: name('dies'), next: become(undefined, { left }) });
  }
  /** Puts it on record, unless somebody else has done so since. */
  const record = (changed: Partial<OnRecord>, others: Partial<State> = {}): State => {
    const now = { ...state, ...others }.records;
    const isClaimed = now[number]?.claim === i;
    const records = now.map((each, j) => {
      return j === number && isClaimed ? { ...each, ...changed, claim: undefined } : each;
    });
    return become(undefined, { ...others, records });
  };
  const { lane } = state;
  const again = { name: name('finds nothing to do yet'), next: become(undefined) };

  if (worker.at === 'inserted') {
    steps.push({ name: name('puts it on record'), next: record(worker.next) });
    return steps;
  }
  if (copy.seal === undefined) {
    // There is another lane then.
    if (state.lanes === 2) return [...steps, { name: name('goes to another lane'), next: record({ isDone: true }) }];
    if (lane === undefined || lane.seal !== undefined) return [...steps, again];
    const isTaken = state.records.some((each, j) => j !== number && each.seal !== undefined && !each.isDone);
    if (rules.oneAtATime && isTaken) return [...steps, again];
    const seal = { from: lane.w + 1 };
    return [...steps, { name: name(`chooses ${seal.from} on`), next: record({ seal }) }];
  }
  const { from } = copy.seal;
  const mine = state.stored.filter(({ owner }) => owner === number);
  const isOurs = lane?.seal?.owner === number && lane.seal.from === from;
  const isPast = lane !== undefined && lane.seal === undefined && lane.w >= from + chunks - 1 && copy.isCounted;
  if (worker.at === 'begun' && (rules.sealFirst || copy.moved === chunks)) {
    if (lane === undefined) return [...steps, again];
    if (!isOurs && !isPast) {
      if (lane.seal !== undefined || lane.seq !== lane.w) return [...steps, again];
      if (state.lanes === 2 || lane.w !== from - 1) {
        if (mine.length > 0) return [...steps, again];
        return [
          ...steps,
          { name: name('gives its sequences up'), next: record({ seal: undefined, isTaken: false, moved: 0 }) },
        ];
      }
      const taken = { ...lane, epoch: lane.epoch + 1, seal: { owner: number, from }, keepsOff: true };
      return [...steps, { name: name(`takes ${from} on`), next: become({ ...worker, at: 'sealed' }, { lane: taken }) }];
    }
  }
  if (!copy.isTaken && rules.recordFirst) {
    return [...steps, { name: name('puts on record that it has them'), next: record({ isTaken: true }) }];
  }
  if (copy.moved < chunks) {
    const row = { seq: from + copy.moved, owner: number };
    const isThere = rules.question && has(state.stored, row.seq, number);
    const moved = { isTaken: true, moved: copy.moved + 1 };
    const stored = isThere ? state.stored : [...state.stored, row];
    steps.push({
      name: name(`inserts ${row.seq}`),
      next: become({ ...worker, at: 'inserted', next: moved }, { stored }),
    });
    if (state.left.late > 0) {
      const left = { ...state.left, late: state.left.late - 1 };
      const late = [...state.late, row];
      steps.push({ name: name(`hears nothing of ${row.seq}`), next: become(undefined, { late, left }) });
      // The server has remembered it, and not kept it: the answer is the same.
      const forgotten = become({ ...worker, at: 'inserted', next: moved }, { left });
      if (!isThere) steps.push({ name: name(`has ${row.seq} dropped`), next: forgotten });
    }
    return steps;
  }
  if (!copy.isCounted) {
    const missing = Array.from({ length: chunks }, (_, k) => k).find((k) => !has(state.stored, from + k, number));
    if (rules.count && missing !== undefined) {
      return [...steps, { name: name('sees rows missing'), next: record({ moved: missing }) }];
    }
    return [...steps, { name: name('counts'), next: record({ isCounted: true }) }];
  }
  if (lane === undefined) return [...steps, again];
  if (isPast) return [...steps, { name: name('sees it published'), next: record({ isDone: true }) }];
  if (!isOurs) return [...steps, again];
  const w = from + chunks - 1;
  const published = { ...lane, w, seq: w, seal: undefined, keepsOff: false };
  steps.push({
    name: name('publishes'),
    next: become({ ...worker, at: 'inserted', next: { isDone: true } }, { lane: published }),
  });
  return steps;
}

/** Writers, the buffer, and what comes late. */
function surroundings(state: State, rules: ImportRules): Step[] {
  const { lane, records, stored, left } = state;
  const steps: Step[] = [];
  state.late.forEach((row, i) => {
    const late = state.late.filter((_, j) => j !== i);
    const isThere = rules.question && has(stored, row.seq, row.owner);
    steps.push({
      name: `an insert of ${row.seq} comes late`,
      next: { ...state, late, stored: isThere ? stored : [...stored, row] },
    });
  });
  if (lane !== undefined && left.losses > 0) {
    steps.push({
      name: 'the buffer loses everything',
      next: { ...state, lane: undefined, waits: undefined, left: { ...left, losses: 0 } },
    });
  }
  if (lane === undefined) {
    const owner = records.findIndex(({ seal, isTaken, isDone }) => {
      return seal !== undefined && (isTaken || !rules.restoreTaken) && !isDone;
    });
    const seal = records[owner]?.seal;
    const newest = Math.max(0, ...stored.map(({ seq }) => seq));
    const w = newest === 0 ? 0 : newest + gap;
    const epoch = 1_000;
    const made: Lane =
      rules.restore && seal !== undefined
        ? { w: seal.from - 1, seq: seal.from - 1, epoch, seal: { owner, from: seal.from }, keepsOff: true }
        : { w, seq: w, epoch, seal: undefined, keepsOff: false };
    const lanes = made.seal !== undefined && rules.restoreLanes ? 1 : state.lanes;
    steps.push({ name: 'the lane is set up again', next: { ...state, lane: made, lanes } });
    return steps;
  }
  const hidden = lane.seal === undefined ? undefined : records[lane.seal.owner];
  if (rules.showAgain && hidden?.isDone) {
    const w = (lane.seal?.from ?? 0) + chunks - 1;
    const shown = { ...lane, w, seq: w, seal: undefined, keepsOff: false };
    steps.push({ name: 'what is done is published again', next: { ...state, lane: shown } });
  }
  if (left.writes > 0 && state.lanes === 1 && !(rules.writersOff && lane.keepsOff)) {
    steps.push({ name: 'writers use the lane', next: { ...state, lanes: 2 } });
  }
  if (left.writes > 0 && state.lanes === 2) {
    const seq = lane.seq + 1;
    const next = { ...state, lane: { ...lane, seq }, waits: seq, left: { ...left, writes: left.writes - 1 } };
    steps.push({ name: `a writer gets ${seq}`, next });
  }
  if (state.waits !== undefined && lane.seal === undefined) {
    const flushed = { ...lane, w: state.waits, epoch: lane.epoch + 1 };
    const rows = [...stored, { seq: state.waits, owner: writer }];
    steps.push({
      name: `${state.waits} is flushed`,
      next: { ...state, lane: flushed, stored: rows, waits: undefined },
    });
  }
  return steps;
}

/** One query: a snapshot, the rows, and the proof that nothing has begun meanwhile. */
function readerSteps(state: State): Step[] {
  const { reader, lane, stored } = state;
  if (reader === 'done' || lane === undefined) return [];
  if (reader === 'idle') {
    const snapshot = { seal: lane.seal !== undefined, w: lane.w, epoch: lane.epoch, seen: undefined };
    return [{ name: 'a reader takes a snapshot', next: { ...state, reader: snapshot } }];
  }
  if (reader.seen !== undefined) return [{ name: 'the reader is done', next: { ...state, reader: 'done' } }];
  const seen = reader.seal ? stored.filter(({ seq }) => seq <= reader.w) : stored;
  const isUnchanged = reader.seal || reader.epoch === lane.epoch;
  if (!isUnchanged) {
    const fenced = { ...reader, seen: stored.filter(({ seq }) => seq <= reader.w) };
    return [{ name: 'the reader reads again, fenced', next: { ...state, reader: fenced } }];
  }
  return [{ name: 'the reader reads', next: { ...state, reader: { ...reader, seen } } }];
}
