import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { CliFailure, isSystemError, systemMessage } from '../failure.ts';
import type { Uploaded } from './local-file.ts';

/** What an import with a key is told apart by. */
export type Named = { url: string; dataset: string; table: string; key: string };

const upload = z.object({ objects: z.array(z.string()), jsonColumns: z.array(z.string()), at: z.number() });

const content = z.object({
  /** Objects that a file went into, by what the file was, and when. */
  uploads: z.record(z.string(), upload).default({}),
  /** What was asked for in the end: from then on the key stands for this and nothing else. */
  begun: z.object({ asked: z.string(), body: z.record(z.string(), z.unknown()) }).optional(),
});

/** Uploads are removed after a day, unless an import has them: half of it is left for that. */
const usable_ms = 12 * 3_600_000;

/**
 * What was done for an import with a key: which files are in the bucket under which name, and the request that named them. A
 * command that broke off goes on with it, and asks for the same import again: names in the bucket are new each time, so that
 * without this it would be another one.
 */
export class ImportRecord {
  readonly #path: string;
  #content: z.output<typeof content>;
  readonly #named: Named;

  private constructor(path: string, named: Named, found: z.output<typeof content>) {
    this.#path = path;
    this.#named = named;
    this.#content = found;
  }

  /** Throws CliFailure where it cannot be kept. */
  static async open(folder: string, named: Named): Promise<ImportRecord> {
    const name = createHash('sha256').update(JSON.stringify(named)).digest('hex').slice(0, 32);
    const path = join(folder, `import-${name}.json`);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      return new ImportRecord(path, named, content.parse(JSON.parse(await readFile(path, 'utf8'))));
    } catch (error) {
      if (isSystemError(error) && error.code === 'ENOENT') return new ImportRecord(path, named, content.parse({}));
      if (isSystemError(error)) throw recordFailure(error, path);
      throw new CliFailure(`${path} cannot be used: it is no record of an import. Remove it, or use another --key.`);
    }
  }

  /** The request that was sent, or was about to be. */
  get begun(): { asked: string; body: Record<string, unknown> } | undefined {
    return this.#content.begun;
  }

  /** Where a file is in the bucket, if it still is. */
  uploaded(file: string): Uploaded | undefined {
    const found = this.#content.uploads[file];
    return found !== undefined && Date.now() - found.at < usable_ms ? found : undefined;
  }

  async addUpload(file: string, uploaded: Uploaded): Promise<void> {
    const uploads = { ...this.#content.uploads, [file]: { ...uploaded, at: Date.now() } };
    await this.#keep({ ...this.#content, uploads });
  }

  /** Before it is sent. */
  async begin(asked: string, body: Record<string, unknown>): Promise<void> {
    await this.#keep({ ...this.#content, begun: { asked, body } });
  }

  /** The server has refused it: there is no such import. */
  async refused(): Promise<void> {
    await this.#keep({ uploads: this.#content.uploads });
  }

  /** Never half written. */
  async #keep(changed: z.output<typeof content>): Promise<void> {
    this.#content = changed;
    const part = `${this.#path}.${process.pid}`;
    try {
      await writeFile(part, `${JSON.stringify({ ...this.#named, ...changed })}\n`, { mode: 0o600 });
      await rename(part, this.#path);
    } catch (error) {
      throw isSystemError(error) ? recordFailure(error, this.#path) : error;
    }
  }
}

function recordFailure(error: NodeJS.ErrnoException, path: string): CliFailure {
  return new CliFailure(
    `The record of the import cannot be kept. ${systemMessage(error, path)} \`--state FOLDER\` keeps it elsewhere.`,
  );
}
