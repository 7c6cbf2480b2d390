/**
 * The rules of the protocol that look odd until they are taken out. Each is on in the real thing; the model finds what
 * goes wrong without it.
 */
export type Rules = {
  /** The insert itself asks ClickHouse, while it runs, which rows are there, and adds the others. */
  question: boolean;
  /** The token names the seal alone. Without: also the rows that are sent, those that were missing when asked before. */
  tokenOfSeal: boolean;
  /** A seal is published only when ClickHouse shows all its rows. */
  count: boolean;
  /** Rows that are missing after an OK are sent again under another token, since theirs may be remembered without them. */
  repairTokens: boolean;
  /** After an error or a time-out the next try starts at the seal's own token. */
  startOverAfterError: boolean;
  /** ClickHouse remembers tokens for as long as an insert can live. */
  window: boolean;
  /** A seal that is there is taken over as it is. Without: what is pending now is sealed anew. */
  takeOver: boolean;
  /** Publishing requires the very seal that was inserted. */
  publishNeedsSeal: boolean;
  /** An insert waits until the buffer's replica has the seal, where the deployment says so. */
  waitForReplica: boolean;
  /** A row is known by the batch that it came with. Without: by its sequence and place, which a failover may give again. */
  identity: boolean;
  /** An insert adds nothing while another one of the lane runs under another token. */
  alone: boolean;
  /** Epochs are taken from the clock where it is ahead, so that none comes again after a failover. */
  newEpochs: boolean;
  /** A read with lanes that are not fenced asks ClickHouse afterwards for rows beyond the watermark. */
  nothingBeyond: boolean;
  /** An insert adds nothing of a batch that was found complete before, as ClickHouse itself knows when it begins. */
  finished: boolean;
  /** Each batch is recorded as complete. Without: the last one of a seal, which a failover may put into another seal. */
  eachBatch: boolean;
  /** Rows are deleted only when every insert has ended that began before they were found complete. */
  deletionWaits: boolean;
  /** A reader's snapshot is one step. Without: first the watermark, then the batches after it. */
  oneSnapshot: boolean;
  /** A read with lanes that are not fenced is compared afterwards with what flushes did meanwhile. */
  validation: boolean;
  /** A row on a seal's skip list that ClickHouse has all the same is taken off it before the seal is published. */
  storedIsNotSkipped: boolean;
  /** An insert leaves out what was set aside, as ClickHouse itself knows when it begins, whoever sends it. */
  asideStaysOut: boolean;
  /** A row in quarantine is sent again only when every insert has ended that began before it was set aside. */
  replayWaits: boolean;
  /** While a seal is there, a reader does not look beyond the watermark in ClickHouse. */
  fence: boolean;
};

export const allRules: Rules = {
  question: true,
  tokenOfSeal: true,
  count: true,
  repairTokens: true,
  startOverAfterError: true,
  window: true,
  takeOver: true,
  publishNeedsSeal: true,
  waitForReplica: true,
  identity: true,
  alone: true,
  newEpochs: true,
  nothingBeyond: true,
  finished: true,
  eachBatch: true,
  deletionWaits: true,
  oneSnapshot: true,
  validation: true,
  storedIsNotSkipped: true,
  asideStaysOut: true,
  replayWaits: true,
  fence: true,
};

/** Rules that have another one behind them: without them alone nothing goes wrong. */
const behind: Partial<Record<keyof Rules, keyof Rules>> = {
  tokenOfSeal: 'alone',
  startOverAfterError: 'alone',
  takeOver: 'alone',
  fence: 'nothingBeyond',
  asideStaysOut: 'finished',
};

/** The rules without one of them, and without what stands behind it. */
export function rulesWithout(rule: keyof Rules): Rules {
  const other = behind[rule];
  return { ...allRules, [rule]: false, ...(other && { [other]: false }) };
}

/** How much of what can go wrong happens in one run, and what is written. */
export type Bounds = {
  /** Partitions that each batch has one row in. */
  batches: string[][];
  flushers: number;
  reader: boolean;
  timeouts: number;
  kills: number;
  deaths: number;
  failovers: number;
  /** How often a flusher sends what is missing under another token before it gives up. */
  repairs: number;
  /** Whether an insert waits for the replica. */
  waits: boolean;
  /** Whether somebody deletes what is published. */
  deletes: boolean;
  /** A row that the server refuses until somebody mends its table, and then takes. */
  poison: string | undefined;
};

const nothing = {
  flushers: 2,
  reader: false,
  timeouts: 0,
  kills: 0,
  deaths: 0,
  failovers: 0,
  repairs: 2,
  waits: false,
  deletes: false,
  poison: undefined,
};
const twoBatches = [['A', 'B'], ['A']];

/** What each run of the tests searches, the largest in part; together a million states. */
export const bounded: Record<string, Bounds> = {
  'inserts that come late': { ...nothing, batches: twoBatches, timeouts: 2 },
  'a server that is killed': { ...nothing, batches: twoBatches, timeouts: 1, kills: 1 },
  'a query beside two flushers': { ...nothing, batches: twoBatches, reader: true },
  'a query beside a late insert': { ...nothing, batches: twoBatches, reader: true, timeouts: 1, flushers: 1 },
  'a row of one batch that is refused': { ...nothing, batches: [['A', 'B']], timeouts: 1, poison: '1.0 A' },
  'a row that is refused': { ...nothing, batches: [['A', 'B'], ['A']], timeouts: 1, poison: '1.0 A' },
  'a row that is refused, in two flushes': {
    ...nothing,
    batches: [['A', 'B']],
    timeouts: 1,
    deaths: 1,
    poison: '1.0 B',
  },
  'a buffer that fails over': { ...nothing, batches: [['A'], ['A']], failovers: 1, repairs: 0 },
  'a query beside a failover': { ...nothing, batches: twoBatches, reader: true, failovers: 1, flushers: 1 },
  'a query beside a failover, with a replica that has the seals': {
    ...nothing,
    batches: twoBatches,
    reader: true,
    timeouts: 1,
    failovers: 1,
    flushers: 1,
    waits: true,
  },
  'a query of one batch beside a failover, with a replica that has the seals': {
    ...nothing,
    batches: [['A', 'B']],
    reader: true,
    timeouts: 1,
    failovers: 1,
    flushers: 1,
    waits: true,
  },
  'rows that are deleted': { ...nothing, batches: [['A'], ['B']], timeouts: 1, deletes: true, repairs: 1 },
  'rows that are deleted, and a buffer that fails over': {
    ...nothing,
    batches: [['A']],
    timeouts: 1,
    failovers: 1,
    deletes: true,
    repairs: 0,
  },
  'rows that are deleted, a buffer that fails over, and a batch after it': {
    ...nothing,
    batches: [['A'], ['A']],
    failovers: 1,
    flushers: 1,
    deletes: true,
    repairs: 0,
  },
};

/** Further than what is searched each time: minutes, and gigabytes. */
export const wide: Record<string, Bounds> = {
  ...bounded,
  'flushers that die beside a server that is killed': {
    ...nothing,
    batches: twoBatches,
    timeouts: 1,
    kills: 1,
    deaths: 1,
  },
  'a server that is killed twice': { ...nothing, batches: [['A', 'B']], timeouts: 1, kills: 2, deaths: 1 },
  'a buffer that fails over twice': { ...nothing, batches: twoBatches, timeouts: 1, failovers: 2 },
  'three batches and a failover': { ...nothing, batches: [['A'], ['A'], ['A']], timeouts: 1, failovers: 1 },
  'a query beside flushers that die': { ...nothing, batches: twoBatches, reader: true, timeouts: 1, deaths: 1 },
};
