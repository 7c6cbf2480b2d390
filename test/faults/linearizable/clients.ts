import { setTimeout as delay } from 'node:timers/promises';
import { at } from '../../integration/support.ts';
import type { Operation } from './check.ts';
import { type Answer, type Door, NoTable, NotNow } from './doors.ts';
import { type Action, batchesShown } from './table-history.ts';

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const pick = <Item>(random: () => number, items: readonly Item[]): Item =>
  items[Math.floor(random() * items.length)] as Item;

/** Batches of a table before writers go on with the next: many short histories are checked sooner than a long one. */
const batchesInTable = 60;
const tablesAtOnce = 2;

type Acknowledged = { batch: string; watermark: string; at: number };

/** What all clients of a run know: what they did and saw, and what must not have happened. */
export class Run {
  readonly histories = new Map<string, Operation<Action>[]>();
  readonly acknowledged = new Map<string, Acknowledged[]>();
  readonly rowsOfBatch = new Map<string, number>();
  readonly faults: string[] = [];
  readonly counts: Record<string, number> = {};
  #batches = 0;

  get operations(): number {
    return [...this.histories.values()].reduce((sum, history) => sum + history.length, 0);
  }

  get tables(): string[] {
    return [...this.histories.keys()];
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  /** Tables that are written to now, and the ones before them. */
  current(): string[] {
    const first = Math.floor(this.#batches / batchesInTable / tablesAtOnce) * tablesAtOnce;
    return Array.from({ length: 2 * tablesAtOnce }, (_, i) => first + i - tablesAtOnce).flatMap((n) =>
      n < 0 ? [] : [`t${n}`],
    );
  }

  newBatch(random: () => number): { table: string; batch: string; rows: object[] } {
    const n = this.#batches++;
    const table = `t${Math.floor(n / batchesInTable / tablesAtOnce) * tablesAtOnce + (n % tablesAtOnce)}`;
    const batch = `b${n}`;
    const length = 1 + Math.floor(random() * 4);
    this.rowsOfBatch.set(batch, length);
    const field = random() < 0.1 ? { [`f${n}`]: n } : {};
    const rows = Array.from({ length }, (_, i) => ({
      timestamp: at(n % 60, 1 + ((n + i) % 3)),
      id: `${batch}/${i}`,
      ...field,
    }));
    return { table, batch, rows };
  }

  note(table: string, operation: Operation<Action>): void {
    const history = this.histories.get(table) ?? [];
    this.histories.set(table, history);
    history.push(operation);
  }

  shown(rows: Record<string, unknown>[]): ReadonlySet<string> {
    return batchesShown(
      rows.map(({ id }) => String(id)),
      (batch) => this.rowsOfBatch.get(batch) ?? 0,
    );
  }
}

/** Ways to the dataset, of which an instance may be another one each time. */
export type Doors = (kind: Door['name']) => Door;

/** Writes a batch, under one key until it is acknowledged; some clients give up after an attempt whose outcome they do not know. */
export async function write(run: Run, doors: Doors, random: () => number): Promise<void> {
  const { table, batch, rows } = run.newBatch(random);
  const action: Action = { do: 'write', batch, rows: rows.length };
  // Over HTTP a batch is another request than for an instance, and a key is of one request.
  const kind = random() < 0.4 ? 'Worker' : 'instance';
  // Rarely: of each such write it is open for long when it happened.
  const givesUp = random() < 0.05;
  const call = performance.now();
  for (;;) {
    const door = doors(kind);
    try {
      const { watermark } = await door.write(table, rows, batch);
      const end = performance.now();
      run.note(table, { action, call, return: end });
      const acknowledged = run.acknowledged.get(table) ?? [];
      run.acknowledged.set(table, [...acknowledged, { batch, watermark, at: end }]);
      run.count(`written by ${door.name}`);
      break;
    } catch (error) {
      if (!(error instanceof NotNow)) throw error;
      run.count(`write: ${error.code}`);
      if (givesUp) {
        run.note(table, { action, call, return: Number.POSITIVE_INFINITY });
        run.count('given up');
        return;
      }
      await delay(20 + random() * 200);
    }
  }
  if (random() > 0.1) return;
  // Once more, as a client does that has not heard the answer: it is the same batch.
  try {
    const { replayed } = await doors(kind).write(table, rows, batch);
    if (!replayed) run.faults.push(`batch ${batch} of ${table} was taken twice`);
    run.count('repeated');
  } catch (error) {
    if (!(error instanceof NotNow)) throw error;
  }
}

/** Where a client that follows a table is: it has seen these batches, and goes on from this token. */
export type Place = { token: string; batches: ReadonlySet<string> };

type Reading = { run: Run; door: Door; table: string; random: () => number; places: Map<string, Place> };

/** Reads in one of many ways, and notes what was shown when. An answer that is refused or says that it may lack rows is no read. */
export async function read(reading: Reading): Promise<void> {
  const { run, random } = reading;
  const [how, ask] = pick(random, ways);
  try {
    await ask(reading, how);
  } catch (error) {
    if (!(error instanceof NotNow)) throw error;
    run.count(`read: ${error.code}`);
    await delay(20 + random() * 100);
  }
}

type Way = (reading: Reading, how: string) => Promise<unknown>;

const columns = ['id'];

const ways: [string, Way][] = [
  [
    'a strict query',
    (r, how) => noteBatches(r, how, (tableName) => r.door.query({ tableName, columns, consistency: 'strict' })),
  ],
  ['a query', (r, how) => noteBatches(r, how, (tableName) => r.door.query({ tableName, columns }))],
  ['SQL', (r, how) => noteBatches(r, how, (table) => r.door.sql(`SELECT id FROM ${table}`))],
  ['a query with a token', withToken],
  ['a count in SQL', (r, how) => noteRows(r, how, 'n', (table) => r.door.sql(`SELECT count() AS n FROM ${table}`))],
  [
    'a downsampled count',
    (r, how) => noteRows(r, how, 'count', (tableName) => r.door.query({ tableName, downsample: months })),
  ],
  ['pages', byPages],
  ['following', following],
  ['SQL over two tables', ofTwoTables],
  ['ClickHouse alone, with a token', atLeast],
  ['ClickHouse alone, near', near],
];

const months = { intervalUnit: 'month', aggregations: [{ function: 'count' }] };

/** The answer of a table; none yet is one without rows. */
async function answerOf(ask: () => Promise<Answer>): Promise<Answer> {
  try {
    const answer = await ask();
    if (!answer.streaming.fresh) throw new NotNow('not fresh');
    return answer;
  } catch (error) {
    if (!(error instanceof NoTable)) throw error;
    return { rows: [], cursor: null, streaming: { fresh: true }, latest_ingest_watermark: null };
  }
}

async function noteBatches(
  { run, table }: Reading,
  how: string,
  ask: (table: string) => Promise<Answer>,
): Promise<Answer> {
  const call = performance.now();
  const answer = await answerOf(() => ask(table));
  run.note(table, { call, return: performance.now(), action: { do: 'read', how, batches: run.shown(answer.rows) } });
  run.count(how);
  return answer;
}

async function noteRows({ run, table }: Reading, how: string, name: string, ask: (table: string) => Promise<Answer>) {
  const call = performance.now();
  const { rows } = await answerOf(() => ask(table));
  const sum = rows.reduce((total, row) => total + Number(row[name]), 0);
  run.note(table, { call, return: performance.now(), action: { do: 'count', how, rows: sum } });
  run.count(how);
}

/** With the token of a write that was acknowledged, to whichever client. */
async function withToken(reading: Reading, how: string): Promise<void> {
  const { run, door, table, random } = reading;
  const { watermark: minWatermark } = pick(random, run.acknowledged.get(table) ?? []) ?? {};
  await noteBatches(reading, how, (tableName) => door.query({ tableName, columns, minWatermark }));
}

/** All pages are of the first one's cut, so they are one read, as long as the first page took. */
async function byPages({ run, door, table, random }: Reading, how: string): Promise<void> {
  const asked = { tableName: table, columns, limit: 5 + Math.floor(random() * 30), orderBy: [{ column: 'id' }] };
  const call = performance.now();
  const first = await answerOf(() => door.query(asked));
  const end = performance.now();
  const rows = [...first.rows];
  for (let { cursor } = first; cursor; ) {
    const next = await door.query({ ...asked, cursor });
    rows.push(...next.rows);
    cursor = next.cursor;
  }
  run.note(table, { call, return: end, action: { do: 'read', how, batches: run.shown(rows) } });
  run.count(how);
}

/** What is new since the client's last answer, which together is what the table has. */
async function following({ run, door, table, places }: Reading, how: string): Promise<void> {
  const { token: afterWatermark, batches: seen } = places.get(table) ?? {
    token: undefined,
    batches: new Set<string>(),
  };
  const call = performance.now();
  const { rows, latest_ingest_watermark: token } = await answerOf(() =>
    door.query({ tableName: table, columns, afterWatermark }),
  );
  const end = performance.now();
  const fresh = run.shown(rows);
  if (token === null && seen.size > 0) run.faults.push(`table ${table} was gone for who follows it`);
  for (const batch of fresh)
    if (seen.has(batch)) run.faults.push(`batch ${batch} of ${table} was new twice to who follows it`);
  const batches = new Set([...seen, ...fresh]);
  run.note(table, { call, return: end, action: { do: 'read', how, batches } });
  run.count(how);
  if (token !== null) places.set(table, { token, batches });
}

/** Each table is at its own cut, so this is a read of each. */
async function ofTwoTables({ run, door, table, random }: Reading, how: string): Promise<void> {
  const other = pick(random, run.current());
  const call = performance.now();
  const { rows, streaming } = await door
    .sql(`SELECT id, '${table}' AS of FROM ${table} UNION ALL SELECT id, '${other}' AS of FROM ${other}`)
    .catch((error) => {
      throw error instanceof NoTable ? new NotNow('one of two tables is not there') : error;
    });
  if (!streaming.fresh) throw new NotNow('not fresh');
  const end = performance.now();
  if (other === table) return;
  for (const each of [table, other]) {
    const batches = run.shown(rows.filter(({ of }) => of === each));
    run.note(each, { call, return: end, action: { do: 'read', how, batches } });
  }
  run.count(how);
}

/** Of ClickHouse alone, what a token names at least, and of every batch all rows. */
async function atLeast({ run, door, table, random }: Reading, how: string): Promise<void> {
  const known = pick(random, run.acknowledged.get(table) ?? []);
  if (known === undefined) return;
  const asked = { tableName: table, columns, consistency: 'eventual', minWatermark: known.watermark };
  const { rows } = await door.query(asked);
  expectAmong(run, table, how, run.shown(rows), [known]);
}

const near_ms = 3_000;
/** The age of a row is told by another clock. */
const clocks_ms = 20;

/** Of ClickHouse alone or with the buffer, what was acknowledged longer ago than the answer may lack. */
async function near({ run, door, table }: Reading, how: string): Promise<void> {
  const oldest = performance.now() - near_ms - clocks_ms;
  const old = (run.acknowledged.get(table) ?? []).filter((each) => each.at < oldest);
  const { rows } = await answerOf(async () => {
    const answer = await door.query({ tableName: table, columns, consistency: 'bounded', maxStalenessMs: near_ms });
    return { ...answer, streaming: { fresh: true } };
  });
  expectAmong(run, table, how, run.shown(rows), old);
}

function expectAmong(run: Run, table: string, how: string, shown: ReadonlySet<string>, old: Acknowledged[]): void {
  run.count(how);
  for (const batch of shown) if (!run.rowsOfBatch.has(batch)) run.faults.push(`${how} of ${table} shows ${batch}`);
  for (const { batch } of old) if (!shown.has(batch)) run.faults.push(`${how} of ${table} lacks ${batch}`);
}
