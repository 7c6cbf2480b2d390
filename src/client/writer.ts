/// <reference lib="esnext.disposable" preserve="true" />

import type { Accepted, WriteOptions } from './client.ts';
import { TimestoreError } from './errors.ts';
import { rowText } from './write.ts';

export type WriterOptions = {
  /** A batch is sent when it has so many rows or characters, or when its first row has waited so long. */
  rowsMax?: number;
  charsMax?: number;
  ageMsMax?: number;
  /** Requests at once. */
  requestsMax?: number;
  /** Characters that are held, sent ones among them until they are acknowledged: `add` waits beyond. */
  heldCharsMax?: number;
  write?: Pick<WriteOptions, 'ack' | 'onError' | 'rename'>;
  /** Of each batch that was acknowledged. */
  onAccepted?: (accepted: Accepted) => void;
};

/** Rows that were not accepted, and why. They are the caller's again. */
export type Refused = { lines: string[]; idempotencyKey: string; error: TimestoreError };

/** Batches of a writer that were refused. */
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
 * Takes rows and sends them in batches, several at once. Each batch keeps its key however often it is sent. Nothing is
 * acknowledged before `flush` or `close` has returned.
 */
export class Writer {
  readonly #send: (lines: string[], key: string) => Promise<Accepted>;
  readonly #options: WriterOptions & typeof defaults;
  #open: Batch = newBatch();
  #waiting: Batch[] = [];
  #running = 0;
  #held = 0;
  #taken = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #refused: Refused[] = [];
  #isClosed = false;
  /** Those who wait for something to change. */
  #changed = Promise.withResolvers<void>();

  constructor(send: (lines: string[], key: string) => Promise<Accepted>, options: WriterOptions) {
    this.#send = send;
    this.#options = { ...defaults, ...options };
  }

  /**
   * Takes a row. Resolves when there is room for the next one.
   *
   * @throws WriteError for batches that were refused since it was last told; the row is taken all the same. TimestoreError
   *   `rows-refused` for a row that cannot be sent, which is not
   */
  async add(row: object): Promise<void> {
    await this.addLine(rowText(row, this.#taken));
  }

  /** The same of a row that is JSON already. */
  async addLine(line: string): Promise<void> {
    if (this.#isClosed) throw new TypeError('the writer is closed');
    const { rowsMax, charsMax, ageMsMax, heldCharsMax } = this.#options;
    const batch = this.#open;
    this.#taken += 1;
    batch.lines.push(line);
    batch.chars += line.length + 1;
    this.#held += line.length + 1;
    if (batch.lines.length >= rowsMax || batch.chars >= charsMax) this.#cut();
    else this.#timer ??= setTimeout(() => this.#cut(), ageMsMax);
    while (this.#held > heldCharsMax) {
      this.#cut();
      await this.#changed.promise;
    }
    this.#tellRefused();
  }

  /** Sends everything there is and waits until it is acknowledged. Throws WriteError for what is not. */
  async flush(): Promise<void> {
    this.#cut();
    while (this.#running > 0 || this.#waiting.length > 0) await this.#changed.promise;
    this.#tellRefused();
  }

  /** Flushes, and takes nothing more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #cut(): void {
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
      const known =
        error instanceof TimestoreError
          ? error
          : new TimestoreError('internal', String(error), { retryable: false, cause: error });
      this.#refused.push({ lines: batch.lines, idempotencyKey: batch.key, error: known });
    }
    this.#running -= 1;
    this.#held -= batch.chars;
    this.#pump();
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    resolve();
    // Last: what it throws is its own, and must not look like a refusal.
    if (accepted !== undefined) this.#options.onAccepted?.(accepted);
  }

  #tellRefused(): void {
    if (this.#refused.length === 0) return;
    const refused = this.#refused;
    this.#refused = [];
    throw new WriteError(refused);
  }
}

function newBatch(): Batch {
  return { lines: [], chars: 0, key: crypto.randomUUID() };
}
