import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { CliFailure, isSystemError, systemMessage } from '../failure.ts';
import type { Cuts } from './cut.ts';

/** The identity of the load of a file. */
export type Load = { url: string; dataset: string; table: string; path: string; run: string };

const entry = z.object({
  start: z.int(),
  end: z.int(),
  hash: z.string(),
  at: z.number(),
  /** Only in entries of acknowledged batches. */
  rows: z.int().optional(),
  batchId: z.string().optional(),
});

export type Entry = z.output<typeof entry>;

/**
 * The journal of a file: each batch is recorded before it is sent and after it is acknowledged, so that a load can be
 * resumed after it ended at any moment.
 */
export class Journal implements Cuts {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #entries: Map<number, Entry>;
  readonly #starts: number[];

  private constructor(path: string, file: FileHandle, entries: Map<number, Entry>) {
    this.path = path;
    this.#file = file;
    this.#entries = entries;
    this.#starts = [...entries.keys()].sort((a, b) => a - b);
  }

  /** Throws CliFailure where the journal cannot be written. */
  static async open(folder: string, load: Load): Promise<Journal> {
    const name = createHash('sha256').update(JSON.stringify(load)).digest('hex').slice(0, 32);
    const path = join(folder, `${name}.ndjson`);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return '';
        throw error;
      });
      const file = await open(path, 'a', 0o600);
      // The first line is for users. A partial last line is terminated.
      if (text === '') await file.write(`${JSON.stringify(load)}\n`);
      else if (!text.endsWith('\n')) await file.write('\n');
      return new Journal(path, file, parseEntries(text));
    } catch (error) {
      throw journalFailure(error, path);
    }
  }

  at(start: number): Entry | undefined {
    return this.#entries.get(start);
  }

  endAt(start: number): number | undefined {
    return this.#entries.get(start)?.end;
  }

  nextStart(start: number): number | undefined {
    let [low, high] = [0, this.#starts.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#starts[middle] ?? 0) > start) high = middle;
      else low = middle + 1;
    }
    return this.#starts[low];
  }

  /** Whether a batch from here on was acknowledged. */
  hasFrom(start: number): boolean {
    return this.#starts.some((each) => each >= start && this.#entries.get(each)?.rows !== undefined);
  }

  /** Any acknowledged batch. */
  get someBatch(): string | undefined {
    for (const { batchId } of this.#entries.values()) if (batchId !== undefined) return batchId;
    return undefined;
  }

  async add(line: Entry): Promise<void> {
    try {
      await this.#file.write(`${JSON.stringify(line)}\n`);
    } catch (error) {
      throw journalFailure(error, this.path);
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

function parseEntries(text: string): Map<number, Entry> {
  const entries = new Map<number, Entry>();
  for (const line of text.split('\n')) {
    const parsed = entry.safeParse(parseJson(line));
    if (!parsed.success) continue;
    const { data } = parsed;
    const before = entries.get(data.start);
    // The server remembers a key from the first time that it was sent.
    entries.set(data.start, {
      ...before,
      ...data,
      at: Math.min(data.at, before?.at ?? data.at),
    });
  }
  return entries;
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function journalFailure(error: unknown, path: string): unknown {
  if (!isSystemError(error)) return error;
  return new CliFailure(
    `The journal of accepted rows cannot be written. ${systemMessage(error, path)} ` +
      'Resume within 24 hours to avoid duplicates; `--state FOLDER` selects another folder.',
  );
}
