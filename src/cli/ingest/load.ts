import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { type Receipt, type Table, TimestoreError, type WriteOptions } from '../../client/index.ts';
import { CliFailure, exitCodes, failureOf } from '../failure.ts';
import { type Batch, type Cuts, cutText, type Limits, lineOf } from './cut.ts';
import { Journal, type Load } from './journal.ts';
import { cutParquet } from './parquet.ts';
import { type Format, openSource, type Source } from './source.ts';

export type LoadOptions = {
  table: Table;
  receipt(batchId: string): Promise<Receipt>;
  /** Which fields of the table are times, as far as that can be known. */
  timesOf(): Promise<ReadonlySet<string>>;
  url: string;
  /** A name of this load: each row of a file is taken once under it. */
  run: string;
  format: Format | undefined;
  /** Where it is on record what was sent. */
  state: string;
  limits: Limits;
  requests: number;
  /** How long it is tried again while nothing is acknowledged. */
  patienceMs: number;
  write: Pick<WriteOptions, 'ack' | 'onError' | 'rename'>;
  stdin: Readable;
  /** The wish to end. */
  signal: AbortSignal;
  onChange: () => void;
};

export type Progress = {
  /** Of sources, as they lie there: read, and in all where that is known. */
  bytesRead: number;
  /** Rows that were accepted now, that had been before, and that are in quarantine. */
  accepted: number;
  before: number;
  quarantined: number;
  requests: number;
  /** What is read now. */
  file: string;
  /** Why nothing moves, if so. */
  waits: string | undefined;
};

/** Keys are remembered for 24 hours from the first time that they were sent; the last of them is left to clocks that differ. */
const remembered_ms = 23 * 3_600_000;
const pauseMs = 500;
const pauseMsMax = 10_000;
/** What is on its way when it is to end. */
const endingMs = 10_000;

/**
 * Sends files, several batches at once. What had been accepted is not sent again: it is on record here, and whatever was
 * on its way when a load ended has the same key as then.
 *
 * @throws CliFailure when it cannot go on; the same command goes on later
 */
export async function load(sources: Source[], options: LoadOptions, progress: Progress): Promise<void> {
  const sender = new Sender(options, progress);
  try {
    for (const source of sources) {
      progress.file = source.name;
      await loadOne(source, options, progress, sender);
    }
  } catch (error) {
    sender.fail(error);
  }
  await sender.end();
}

async function loadOne(source: Source, options: LoadOptions, progress: Progress, sender: Sender): Promise<void> {
  const { table, url, run, state } = options;
  // What came through a pipe cannot be read again: there is nothing to go on with.
  const isFile = source.bytes !== undefined;
  const place: Load = { url, dataset: table.dataset, table: table.name, path: source.path, run };
  const journal = isFile ? await Journal.open(state, place) : undefined;
  const pending: Promise<void>[] = [];
  try {
    const batchId = journal?.someBatch;
    const forgets = batchId !== undefined && (await sender.forgets(batchId, source));
    let end = 0;
    for await (const batch of await batchesOf(source, options, progress, journal ?? uncut, sender.over)) {
      end = batch.end;
      if (isDone(batch, source, journal, progress, forgets)) continue;
      if (sender.over.aborted) return;
      const { sending } = await sender.start(batch, keyOf(batch, source, options), source, journal);
      pending.push(sending);
    }
    if (!sender.over.aborted && journal?.hasFrom(end)) throw changed(source, 'is shorter than');
  } finally {
    await Promise.all(pending);
    await journal?.close();
  }
}

const uncut: Cuts = { endAt: () => undefined, nextStart: () => undefined };

async function batchesOf(source: Source, options: LoadOptions, progress: Progress, cuts: Cuts, signal: AbortSignal) {
  const { stdin, format: asked, limits } = options;
  const opened = await openSource(source, stdin, asked, signal, (bytes) => {
    progress.bytesRead += bytes;
    options.onChange();
  });
  if (opened.format !== 'parquet') return cutText(opened.chunks, opened.format, source.name, limits, cuts);
  if (source.bytes === undefined) {
    throw new CliFailure('Parquet is read from its end: save it to a file first.', exitCodes.usage);
  }
  return cutParquet(source.path, source.name, limits, cuts, options.timesOf);
}

/**
 * Whether a batch had been accepted. Throws CliFailure where that cannot be said.
 *
 * @param forgets whether the server has lost its keys
 */
function isDone(
  batch: Batch,
  source: Source,
  journal: Journal | undefined,
  progress: Progress,
  forgets: boolean,
): boolean {
  const entry = journal?.at(batch.start);
  if (entry === undefined) {
    const next = journal?.nextStart(batch.start);
    if (next !== undefined && next < batch.end) throw changed(source, 'differs from');
    return false;
  }
  if (entry.hash !== batch.hash) throw changed(source, 'differs from');
  if (entry.rows !== undefined) {
    progress.before += entry.rows;
    return true;
  }
  if (forgets) throw unknown(batch, source, entry.at, 'the server has lost the keys that it knew');
  return false;
}

const forgotten = 'more time has passed than keys are remembered (24 hours)';

function unknown({ line }: Batch, { name }: Source, at_ms: number, why: string): CliFailure {
  return new CliFailure(
    `${name}, from line ${line} on: these rows were sent ${new Date(at_ms).toISOString()}, and it never came ` +
      `back whether they were accepted. Since then ${why}, ` +
      'so that sending them again could double them. Look whether they are there, and then use another --run for what is missing.',
  );
}

function changed({ name }: Source, how: string): CliFailure {
  return new CliFailure(
    `${name} ${how} the file that was sent under this name before, so that it cannot be told which of its rows are there ` +
      'already. Put the former one back to go on with it, or send this one as another: --run NAME.',
  );
}

/** The same for the same rows at the same place of a file of this name, whoever sends them. */
function keyOf({ start, hash }: Batch, { name }: Source, { table, run }: LoadOptions): string {
  const place = JSON.stringify([1, table.dataset, table.name, run, name, start, hash]);
  return `ingest-${createHash('sha256').update(place).digest('hex')}`;
}

class Sender {
  readonly #options: LoadOptions;
  readonly #progress: Progress;
  readonly #running = new Set<Promise<void>>();
  readonly #over = new AbortController();
  /** Of what is on its way. */
  readonly #ending = new AbortController();
  /** `order`: of the batch among all that were sent. */
  #failure: { error: unknown; order: number } | undefined;
  #started = 0;
  #isFirst = true;
  #movedAt = Date.now();

  constructor(options: LoadOptions, progress: Progress) {
    this.#options = options;
    this.#progress = progress;
    options.signal.addEventListener('abort', () => this.#stop(), { once: true });
  }

  /** Aborted when nothing further is to be sent. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** Reports the first failure, or rather the refusal of the batch that comes first in the files, whichever answer arrived first. */
  fail(error: unknown, order = Number.POSITIVE_INFINITY): void {
    const isRefusal = error instanceof CliFailure && error.exitCode === exitCodes.failed;
    if (this.#failure === undefined || (isRefusal && order < this.#failure.order)) this.#failure = { error, order };
    this.#stop();
  }

  /** Resolves with the sending when there is room for a further batch. */
  async start(batch: Batch, key: string, source: Source, journal: Journal | undefined) {
    await journal?.add({ start: batch.start, end: batch.end, hash: batch.hash, at: Date.now() });
    const order = this.#started++;
    const sending = this.#run(batch, key, source, journal).catch((error: unknown) => {
      this.fail(error, order);
    });
    this.#running.add(sending);
    void sending.finally(() => this.#running.delete(sending));
    // The first rows say what types new fields have: the others come after them.
    if (this.#isFirst) await sending;
    this.#isFirst = false;
    if (this.#running.size >= this.#options.requests) await Promise.race(this.#running);
    return { sending };
  }

  /** Throws what went wrong. */
  async end(): Promise<void> {
    await Promise.all(this.#running);
    this.#options.signal.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #stop(): void {
    this.#over.abort();
    // What is on its way may still arrive, and then it is on record.
    setTimeout(() => this.#ending.abort(), endingMs).unref();
  }

  async #run(batch: Batch, key: string, source: Source, journal: Journal | undefined): Promise<void> {
    const { table, write } = this.#options;
    const options = { ...write, idempotencyKey: key, signal: this.#ending.signal };
    const sentAt_ms = Math.min(Date.now(), journal?.at(batch.start)?.at ?? Number.POSITIVE_INFINITY);
    const send = async () => {
      // A load may go on after a day, and patience may last as long.
      if (Date.now() - sentAt_ms >= remembered_ms) throw unknown(batch, source, sentAt_ms, forgotten);
      return await table.writeBody(batch.body, batch.type, options);
    };
    const accepted = await this.#patiently(send).catch((error) => {
      throw error instanceof TimestoreError ? refused(error, batch, source) : error;
    });
    const rows = accepted.accepted + accepted.quarantined;
    const { start, end, hash } = batch;
    await journal?.add({ start, end, hash, at: Date.now(), rows, batchId: accepted.batchId });
    if (accepted.replayed) this.#progress.before += rows;
    else this.#progress.accepted += accepted.accepted;
    if (!accepted.replayed) this.#progress.quarantined += accepted.quarantined;
    this.#progress.requests += 1;
    this.#options.onChange();
  }

  /**
   * Looks whether the table is still the one that was loaded, and whether the server has lost its keys.
   *
   * @throws CliFailure where the table is another: what is on record says nothing of it
   */
  async forgets(batchId: string, { name }: Source): Promise<boolean> {
    const { receipt, table } = this.#options;
    try {
      return ['lost', 'unknown'].includes((await this.#patiently(() => receipt(batchId))).state);
    } catch (error) {
      if (!(error instanceof TimestoreError) || error.code !== 'not-found') throw error;
      throw new CliFailure(
        `${name} was sent to a table ${table.dataset}.${table.name} that is no longer there: it was deleted, or deleted and ` +
          'made again. To send the file to the one that is there now: --run NAME.',
      );
    }
  }

  /** Again and again while that may help and others get through. Throws what is for good. */
  async #patiently<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const answer = await ask();
        this.#movedAt = Date.now();
        this.#progress.waits = undefined;
        return answer;
      } catch (error) {
        if (!(error instanceof TimestoreError) || !error.retryable) throw error;
        const waited = Date.now() - this.#movedAt;
        if (waited >= this.#options.patienceMs || this.over.aborted) throw gaveUp(error, waited);
        this.#progress.waits = error.message;
        this.#options.onChange();
        const pause = Math.min(pauseMsMax, pauseMs * 2 ** attempt) * (0.5 + Math.random() / 2);
        await delay(Math.max(pause, error.retryAfterMs ?? 0), undefined, { signal: this.over }).catch(() => undefined);
      }
    }
  }
}

function gaveUp(error: TimestoreError, waited: number): CliFailure {
  const { message } = failureOf(error);
  const since = waited < 1_000 ? '' : ` Nothing was acknowledged for ${Math.round(waited / 1000)} s.`;
  return new CliFailure(`${message}${since}`, exitCodes.later, error);
}

type RowError = { index: number; field: string | null; reason: string; detail?: string };

const shown = 10;

function refused(error: TimestoreError, batch: Batch, { name }: Source): CliFailure {
  const errors = (error.problem.errors ?? []) as RowError[];
  const word = name.endsWith('.parquet') ? 'row' : 'line';
  if (errors.length === 0) {
    return new CliFailure(
      `${name}, from ${word} ${batch.line} on: ${failureOf(error).message}`,
      exitCodes.failed,
      error,
    );
  }
  const total = Number(error.problem.errorsTotal ?? errors.length);
  const lines = errors.slice(0, shown).map(({ index, field, reason, detail }) => {
    const what = [field, reason, detail].filter((part) => part !== null && part !== undefined && part !== '');
    return `  ${word} ${lineOf(batch, index)}: ${what.join(', ')}`;
  });
  if (total > lines.length) lines.push(`  … and ${total - lines.length} more in this batch`);
  return new CliFailure(
    `${name}: ${total} ${total === 1 ? 'row is' : 'rows are'} at fault, and nothing of ${total === 1 ? 'its' : 'their'} batch was accepted.\n` +
      `${lines.join('\n')}\n` +
      'The same command with --on-error quarantine accepts the others and sets these aside.',
    exitCodes.failed,
    error,
  );
}
