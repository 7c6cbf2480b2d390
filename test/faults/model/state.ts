import type { Bounds } from './rules.ts';

/** A batch by its sequence and its life: a failover may lose the first batch of a sequence, and another one gets it. */
export type BatchId = `${number}.${number}`;

export type Seal = {
  from: number;
  to: number;
  epoch: number;
  ids: BatchId[] /** of the buffer, when it was made */;
  life: number;
  /** Rows that are not sent. */
  skip: Row[];
};

export type Buffer = {
  /** The batches acknowledged, by sequence from 1. */
  ids: BatchId[];
  w: number;
  /** The newest batch that is gone from the log. */
  trimmed: number;
  epoch: number;
  seal: Seal | undefined;
};

/** A row in ClickHouse: batch and partition. */
export type Row = `${BatchId} ${string}`;

export type Insert = {
  owner: number | undefined;
  token: string;
  rows: Row[];
  /** What is left to be committed, once the server has begun; a partition at a time. */
  left: Row[] | undefined;
};

export type Flusher = {
  at: 'idle' | 'sealed' | 'ready' | 'waiting' | 'refused' | 'answered' | 'present' | 'counted' | 'aside' | 'told';
  seal: Seal | undefined;
  attempt: number;
  /** Whether it has counted all rows of its seal that can be there. */
  isWhole: boolean;
};

export type Reader = {
  at: 'idle' | 'watermark' | 'snapshot' | 'read' | 'again' | 'done';
  w: number;
  epoch: number;
  life: number;
  sealed: boolean;
  /** Whether its answer was read with a fence on the lane, and not compared with anything afterwards. */
  fenced: boolean;
  tail: BatchId[];
  /** What was acknowledged when the query began. */
  known: BatchId[];
  answer: Row[];
};

export type State = {
  buffer: Buffer;
  replica: Buffer;
  /** How often the buffer has failed over, which nobody is told of: no step may depend on it. */
  life: number;
  /** Batches that were acknowledged, and that a failover has lost. */
  lost: BatchId[];
  stored: Row[];
  /** The last batch of each seal that was found complete: the heartbeats in ClickHouse. */
  heartbeats: BatchId[];
  /** Batches that were found complete, by ClickHouse's own record. */
  whole: BatchId[];
  deleted: Row[];
  /** Tokens remembered, with their partition. */
  log: string[];
  inserts: Insert[];
  flushers: Flusher[];
  reader: Reader;
  /** Whether the server refuses the poison row, and what has become of it. */
  refuses: boolean;
  quarantine: Row[];
  replayed: Row[];
  left: { timeouts: number; kills: number; deaths: number; failovers: number };
};

const noReader: Reader = {
  at: 'idle',
  w: 0,
  epoch: 0,
  life: 0,
  sealed: false,
  fenced: false,
  tail: [],
  known: [],
  answer: [],
};

export function initialState(bounds: Bounds): State {
  const empty: Buffer = { ids: [], w: 0, trimmed: 0, epoch: 0, seal: undefined };
  const { timeouts, kills, deaths, failovers } = bounds;
  return {
    buffer: empty,
    replica: empty,
    life: 0,
    lost: [],
    stored: [],
    heartbeats: [],
    whole: [],
    deleted: [],
    log: [],
    inserts: [],
    flushers: Array.from({ length: bounds.flushers }, () => ({
      at: 'idle',
      seal: undefined,
      attempt: 0,
      isWhole: false,
    })),
    refuses: bounds.poison !== undefined,
    quarantine: [],
    replayed: [],
    reader: { ...noReader, at: bounds.reader ? 'idle' : 'done' },
    left: { timeouts, kills, deaths, failovers },
  };
}

/**
 * The same for states that differ only in the order of things that have none, or in which flusher is which: they all do
 * the same.
 */
export function keyOf({ inserts, flushers, reader, buffer, replica, life, refuses, left, ...lists }: State): string {
  const ofOwner = (owner: number | undefined) => {
    const own = inserts.filter((insert) => insert.owner === owner).map((insert) => numberOf(insert, withoutOwner));
    return own.sort().join();
  };
  const each = flushers.map((flusher, i) => `${numberOf(flusher)} ${ofOwner(i)}`).sort();
  let key = `${each.join('/')}/${ofOwner(undefined)}|${numberOf(buffer)}|${numberOf(reader)}|`;
  key += `${numberOf(replica)}|${life} ${refuses}|`;
  key += `${left.timeouts} ${left.kills} ${left.deaths} ${left.failovers}`;
  for (const list of [lists.stored, lists.log, lists.deleted, lists.heartbeats, lists.whole]) {
    key += list.length === 0 ? '|' : `|${numberOf(list, sorted)}`;
  }
  for (const list of [lists.lost, lists.quarantine, lists.replayed]) {
    key += list.length === 0 ? '|' : `|${numberOf(list)}`;
  }
  return key;
}

const sorted = (list: string[]) => JSON.stringify(list.toSorted());
const withoutOwner = ({ owner: _, ...insert }: Insert) => JSON.stringify(insert);

/** Numbers of parts of states by what they are, and by themselves: most states share most of their parts. */
const numbers = new Map<string, number>();
const known = new WeakMap<object, number>();

function numberOf<T extends object>(part: T, textOf: (part: T) => string = JSON.stringify): number {
  const before = known.get(part);
  if (before !== undefined) return before;
  const text = textOf(part);
  const number = numbers.get(text) ?? numbers.size;
  numbers.set(text, number);
  known.set(part, number);
  return number;
}

export function rowsOf(bounds: Bounds, ids: BatchId[]): Row[] {
  return ids.flatMap((id) => partitionsOf(bounds, id).map((partition): Row => `${id} ${partition}`));
}

export function sequenceOf(idOrRow: BatchId | Row): number {
  return Number.parseInt(idOrRow, 10);
}

export function lifeOf(id: BatchId): number {
  return Number(id.split('.')[1]);
}

export function batchOf(row: Row): BatchId {
  return row.split(' ')[0] as BatchId;
}

export function partitionOf(row: Row): string {
  return row.split(' ')[1] ?? '';
}

function partitionsOf(bounds: Bounds, id: BatchId): string[] {
  return bounds.batches[sequenceOf(id) - 1] ?? [];
}
