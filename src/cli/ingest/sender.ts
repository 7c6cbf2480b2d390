import { setTimeout as delay } from 'node:timers/promises';
import { TimestoreError } from '../../client/index.ts';
import { CliFailure, exitCodes } from '../failure.ts';
import { retryPause_ms } from '../retry-pause.ts';
import type { Batch } from './cut.ts';
import type { Journal } from './journal.ts';
import type { LoadOptions, Progress } from './load.ts';
import { batchRejected, gaveUp, outcomeUnknown, tableReplaced } from './load-failures.ts';
import type { Source } from './source.ts';

/** The server remembers keys for 24 hours; one hour is left for clocks that differ. */
const keysRemembered_ms = 23 * 3_600_000;
/** How long requests under way may still finish after the load has stopped. */
const grace_ms = 10_000;

/** Sends the batches of a load, several at once, and reports its first failure. */
export class Sender {
  readonly #options: LoadOptions;
  readonly #progress: Progress;
  readonly #running = new Set<Promise<void>>();
  readonly #stopped = new AbortController();
  readonly #requests = new AbortController();
  /** `order` is the position of the batch among all batches of the load. */
  #failure: { error: unknown; order: number } | undefined;
  #started = 0;
  #isFirst = true;
  #acknowledgedAt_ms = Date.now();

  constructor(options: LoadOptions, progress: Progress) {
    this.#options = options;
    this.#progress = progress;
    options.signal.addEventListener('abort', () => this.#stop(), { once: true });
  }

  /** Aborted when no further batch is to be sent. */
  get stopped(): AbortSignal {
    return this.#stopped.signal;
  }

  /** Keeps the first failure; of rejected batches, the one that comes first in the files, whichever answer came first. */
  fail(error: unknown, order = Number.POSITIVE_INFINITY): void {
    const isRejection = error instanceof CliFailure && error.exitCode === exitCodes.failed;
    if (this.#failure === undefined || (isRejection && order < this.#failure.order)) this.#failure = { error, order };
    this.#stop();
  }

  /** Resolves when a further batch may start. */
  async start(batch: Batch, key: string, source: Source, journal: Journal | undefined) {
    await journal?.add({ start: batch.start, end: batch.end, hash: batch.hash, at: Date.now() });
    const order = this.#started++;
    const sending = this.#send(batch, key, source, journal).catch((error: unknown) => {
      this.fail(error, order);
    });
    this.#running.add(sending);
    void sending.finally(() => this.#running.delete(sending));
    // The first rows decide the types of new fields: other batches wait for them.
    if (this.#isFirst) await sending;
    this.#isFirst = false;
    if (this.#running.size >= this.#options.requests) await Promise.race(this.#running);
    return { sending };
  }

  /** Waits for the requests under way. Throws the failure of the load. */
  async end(): Promise<void> {
    await Promise.all(this.#running);
    this.#options.signal.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #stop(): void {
    this.#stopped.abort();
    // The journal records the answers that still arrive.
    setTimeout(() => this.#requests.abort(), grace_ms).unref();
  }

  async #send(batch: Batch, key: string, source: Source, journal: Journal | undefined): Promise<void> {
    const { table, write } = this.#options;
    const options = { ...write, idempotencyKey: key, signal: this.#requests.signal };
    const sentAt_ms = Math.min(Date.now(), journal?.at(batch.start)?.at ?? Number.POSITIVE_INFINITY);
    const send = async () => {
      // A load may be resumed after a day, and retries may last as long.
      if (Date.now() - sentAt_ms >= keysRemembered_ms) {
        throw outcomeUnknown(batch, source, sentAt_ms, 'more time has passed than keys are remembered (24 hours)');
      }
      return await table.writeBody(batch.body, batch.type, options);
    };
    const accepted = await this.#retry(send).catch((error) => {
      throw error instanceof TimestoreError ? batchRejected(error, batch, source) : error;
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
   * Whether the server has lost the idempotency keys of earlier batches.
   *
   * @throws CliFailure where the table was replaced since: the journal then describes rows of another table
   */
  async hasLostKeys(batchId: string, source: Source): Promise<boolean> {
    const { receipt, table } = this.#options;
    try {
      return ['lost', 'unknown'].includes((await this.#retry(() => receipt(batchId))).state);
    } catch (error) {
      if (!(error instanceof TimestoreError) || error.code !== 'not-found') throw error;
      throw tableReplaced(source, table);
    }
  }

  /** Patience counts from the last acknowledgement of any batch. Throws an error that is not retryable at once. */
  async #retry<Answer>(request: () => Promise<Answer>): Promise<Answer> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const answer = await request();
        this.#acknowledgedAt_ms = Date.now();
        this.#progress.waits = undefined;
        return answer;
      } catch (error) {
        if (!(error instanceof TimestoreError) || !error.retryable) throw error;
        const waited_ms = Date.now() - this.#acknowledgedAt_ms;
        if (waited_ms >= this.#options.patienceMs || this.stopped.aborted) throw gaveUp(error, waited_ms);
        this.#progress.waits = error.message;
        this.#options.onChange();
        await delay(retryPause_ms(attempt, error), undefined, { signal: this.stopped }).catch(() => undefined);
      }
    }
  }
}
