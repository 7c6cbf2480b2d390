/// <reference lib="esnext.disposable" preserve="true" />

import type { Accepted, WriteOptions } from './client.ts';
import { TimestoreError } from './errors.ts';
import { rowText } from './write.ts';

export type WriterOptions = {
  /** A batch is sent when it reaches this number of rows, … */
  rowsMax?: number;
  /** … this number of characters, … */
  charsMax?: number;
  /** … or this age of its first row. */
  ageMsMax?: number;
  /** Maximum number of concurrent requests. */
  requestsMax?: number;
  /** Maximum number of characters that are not acknowledged yet; `add` waits beyond it. */
  heldCharsMax?: number;
  write?: Pick<WriteOptions, 'ack' | 'onError' | 'rename'>;
  /** Called for each acknowledged batch. */
  onAccepted?: (accepted: Accepted) => void;
};

/** Rows that were not accepted, and the reason. The writer does not retry them. */
export type Refused = { lines: string[]; idempotencyKey: string; error: TimestoreError };

/** Reports the rejected batches of a writer. */
export class WriteError extends Error {
  readonly refused: Refused[];
  constructor(refused: Refused[]) {
    const rows = refused.reduce((sum, { lines }) => sum + lines.length, 0);
    super(`${rows} rows were not accepted: ${refused[0]?.error.message ?? ''}`, { cause: refused[0]?.error });
    this.name = 'WriteError';
    this.refused = refused;
  }
}

type Batch = { lines: string[]; chars: number; key: string };

const defaults = {
  rowsMax: 5_000,
  charsMax: 1024 * 1024,
  ageMsMax: 1_000,
  requestsMax: 4,
  heldCharsMax: 16 * 1024 * 1024,
};

/**
 * Sends rows in batches, several at once. All attempts of a batch have the same idempotency key. Rows are known to be
 * acknowledged only after `flush` or `close`.
 */
export class Writer {
  readonly #send: (lines: string[], key: string) => Promise<Accepted>;
  readonly #options: WriterOptions & typeof defaults;
  #open: Batch = newBatch();
  #waiting: Batch[] = [];
  #running = 0;
  #held = 0;
  #added = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #refused: Refused[] = [];
  #isClosed = false;
  /** Resolved after each request. */
  #changed = Promise.withResolvers<void>();

  constructor(send: (lines: string[], key: string) => Promise<Accepted>, options: WriterOptions) {
    this.#send = send;
    this.#options = { ...defaults, ...options };
  }

  /**
   * Adds a row. Resolves when a further row may be added.
   *
   * @throws WriteError for batches that were rejected since the last call, while this row is added nevertheless;
   *   TimestoreError `rows-refused` for a row that JSON cannot represent, which is not added
   */
  async add(row: object): Promise<void> {
    await this.addLine(rowText(row, this.#added));
  }

  /** Adds a row that is JSON text. */
  async addLine(line: string): Promise<void> {
    if (this.#isClosed) throw new TypeError('the writer is closed');
    const { rowsMax, charsMax, ageMsMax, heldCharsMax } = this.#options;
    const batch = this.#open;
    this.#added += 1;
    batch.lines.push(line);
    batch.chars += line.length + 1;
    this.#held += line.length + 1;
    if (batch.lines.length >= rowsMax || batch.chars >= charsMax) this.#closeBatch();
    else this.#timer ??= setTimeout(() => this.#closeBatch(), ageMsMax);
    while (this.#held > heldCharsMax) {
      this.#closeBatch();
      await this.#changed.promise;
    }
    this.#throwRefused();
  }

  /** Sends all rows and waits for their acknowledgement. Throws WriteError for rejected batches. */
  async flush(): Promise<void> {
    this.#closeBatch();
    while (this.#running > 0 || this.#waiting.length > 0) await this.#changed.promise;
    this.#throwRefused();
  }

  /** Flushes, and accepts no further rows. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #closeBatch(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#open.lines.length > 0) {
      this.#waiting.push(this.#open);
      this.#open = newBatch();
    }
    this.#pump();
  }

  #pump(): void {
    while (this.#running < this.#options.requestsMax) {
      const batch = this.#waiting.shift();
      if (batch === undefined) return;
      this.#running += 1;
      void this.#run(batch);
    }
  }

  async #run(batch: Batch): Promise<void> {
    let accepted: Accepted | undefined;
    try {
      accepted = await this.#send(batch.lines, batch.key);
    } catch (error) {
      const failure =
        error instanceof TimestoreError
          ? error
          : new TimestoreError('internal', String(error), { retryable: false, cause: error });
      this.#refused.push({ lines: batch.lines, idempotencyKey: batch.key, error: failure });
    }
    this.#running -= 1;
    this.#held -= batch.chars;
    this.#pump();
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    resolve();
    // Outside of the try block: an error of the callback must not look like a rejected batch.
    if (accepted !== undefined) this.#options.onAccepted?.(accepted);
  }

  #throwRefused(): void {
    if (this.#refused.length === 0) return;
    const refused = this.#refused;
    this.#refused = [];
    throw new WriteError(refused);
  }
}

function newBatch(): Batch {
  return { lines: [], chars: 0, key: crypto.randomUUID() };
}
