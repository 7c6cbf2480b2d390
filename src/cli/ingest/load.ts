import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { Receipt, Table, WriteOptions } from '../../client/index.ts';
import { CliFailure, exitCodes } from '../failure.ts';
import { type Batch, type Cuts, cutText, type Limits } from './cut.ts';
import { Journal, type Load } from './journal.ts';
import { fileChanged, outcomeUnknown } from './load-failures.ts';
import { cutParquet } from './parquet.ts';
import { Sender } from './sender.ts';
import { type Format, openSource, type Source } from './source.ts';

export type LoadOptions = {
  table: Table;
  receipt(batchId: string): Promise<Receipt>;
  /** The timestamp fields of the table, as far as the key may read them. */
  readTimeFields(): Promise<ReadonlySet<string>>;
  url: string;
  /** Each row of a file is accepted once under the name of a run. */
  run: string;
  format: Format | undefined;
  /** The folder of the journals. */
  state: string;
  limits: Limits;
  requests: number;
  /** How long to retry while the server acknowledges nothing. */
  patienceMs: number;
  write: Pick<WriteOptions, 'ack' | 'onError' | 'rename'>;
  stdin: Readable;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
  onChange: () => void;
};

export type Progress = {
  /** Bytes read of the sources, before decompression. */
  bytesRead: number;
  accepted: number;
  /** Rows that an earlier load had sent. */
  before: number;
  quarantined: number;
  requests: number;
  /** The source that is being read. */
  file: string;
  /** Why the load waits, if it does. */
  waits: string | undefined;
};

/**
 * Sends files, several batches at once. Batches that the journal records as accepted are not sent again; a batch without a
 * recorded answer is sent with the same idempotency key as before.
 *
 * @throws CliFailure when the load cannot go on; the same command resumes it
 */
export async function load(sources: Source[], options: LoadOptions, progress: Progress): Promise<void> {
  const sender = new Sender(options, progress);
  try {
    for (const source of sources) {
      progress.file = source.name;
      await loadSource(source, options, progress, sender);
    }
  } catch (error) {
    sender.fail(error);
  }
  await sender.end();
}

async function loadSource(source: Source, options: LoadOptions, progress: Progress, sender: Sender): Promise<void> {
  const { table, url, run, state } = options;
  // A pipe cannot be read again, so that a journal of it has no use.
  const isFile = source.bytes !== undefined;
  const identity: Load = { url, dataset: table.dataset, table: table.name, path: source.path, run };
  const journal = isFile ? await Journal.open(state, identity) : undefined;
  const pending: Promise<void>[] = [];
  try {
    const batchId = journal?.someBatch;
    const keysLost = batchId !== undefined && (await sender.hasLostKeys(batchId, source));
    let end = 0;
    for await (const batch of await readBatches(source, options, progress, journal ?? noCuts, sender.stopped)) {
      end = batch.end;
      if (isAccepted(batch, { source, journal, progress, keysLost })) continue;
      if (sender.stopped.aborted) return;
      const { sending } = await sender.start(batch, idempotencyKey(batch, source, options), source, journal);
      pending.push(sending);
    }
    if (!sender.stopped.aborted && journal?.hasFrom(end)) throw fileChanged(source, 'is shorter than');
  } finally {
    await Promise.all(pending);
    await journal?.close();
  }
}

const noCuts: Cuts = { endAt: () => undefined, nextStart: () => undefined };

async function readBatches(source: Source, options: LoadOptions, progress: Progress, cuts: Cuts, signal: AbortSignal) {
  const { stdin, format, limits } = options;
  const opened = await openSource(source, stdin, format, signal, (bytes) => {
    progress.bytesRead += bytes;
    options.onChange();
  });
  if (opened.format !== 'parquet') return cutText(opened.chunks, opened.format, source.name, limits, cuts);
  if (source.bytes === undefined) {
    throw new CliFailure('Parquet has its index at the end: save it to a file first.', exitCodes.usage);
  }
  return cutParquet(source.path, source.name, limits, cuts, options.readTimeFields);
}

type BatchContext = {
  source: Source;
  journal: Journal | undefined;
  progress: Progress;
  /** Whether the server has lost the idempotency keys of earlier batches. */
  keysLost: boolean;
};

/** Throws CliFailure where the journal and the file disagree, or where the outcome cannot be known any more. */
function isAccepted(batch: Batch, { source, journal, progress, keysLost }: BatchContext): boolean {
  const entry = journal?.at(batch.start);
  if (entry === undefined) {
    const next = journal?.nextStart(batch.start);
    if (next !== undefined && next < batch.end) throw fileChanged(source, 'differs from');
    return false;
  }
  if (entry.hash !== batch.hash) throw fileChanged(source, 'differs from');
  if (entry.rows !== undefined) {
    progress.before += entry.rows;
    return true;
  }
  if (keysLost) throw outcomeUnknown(batch, source, entry.at, 'the server has lost the keys of these batches');
  return false;
}

/** Derived from the position and the content of the rows, so that any machine that sends the same file uses the same keys. */
function idempotencyKey({ start, hash }: Batch, { name }: Source, { table, run }: LoadOptions): string {
  const position = JSON.stringify([1, table.dataset, table.name, run, name, start, hash]);
  return `ingest-${createHash('sha256').update(position).digest('hex')}`;
}
