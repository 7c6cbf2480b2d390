import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { CliFailure, isSystemError, systemMessage } from '../failure.ts';
import type { Uploaded } from './local-file.ts';

/** The identity of an import with a key. */
export type ImportIdentity = { url: string; dataset: string; table: string; key: string };

const upload = z.object({ objects: z.array(z.string()), jsonColumns: z.array(z.string()), at: z.number() });

const content = z.object({
  /** Objects of each uploaded file, by the version of the file. */
  uploads: z.record(z.string(), upload).default({}),
  /** The request of the key, recorded before it is sent. */
  begun: z.object({ asked: z.string(), body: z.record(z.string(), z.unknown()) }).optional(),
});

/** The server deletes unused uploads after a day; the import has the other half of the day to start. */
const usable_ms = 12 * 3_600_000;

/**
 * The recorded state of an import with a key: the objects of uploaded files, and the request that names them. A repeated
 * command sends the same request. Without the record it would upload to new object names, which is another request.
 */
export class ImportRecord {
  readonly #path: string;
  #content: z.output<typeof content>;
  readonly #identity: ImportIdentity;

  private constructor(path: string, identity: ImportIdentity, found: z.output<typeof content>) {
    this.#path = path;
    this.#identity = identity;
    this.#content = found;
  }

  /** Throws CliFailure where the record cannot be stored. */
  static async open(folder: string, identity: ImportIdentity): Promise<ImportRecord> {
    const name = createHash('sha256').update(JSON.stringify(identity)).digest('hex').slice(0, 32);
    const path = join(folder, `import-${name}.json`);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      return new ImportRecord(path, identity, content.parse(JSON.parse(await readFile(path, 'utf8'))));
    } catch (error) {
      if (isSystemError(error) && error.code === 'ENOENT') return new ImportRecord(path, identity, content.parse({}));
      if (isSystemError(error)) throw recordFailure(error, path);
      throw new CliFailure(`${path} is not a valid record of an import. Remove it, or use another --key.`);
    }
  }

  /** The request that was sent, or is about to be. */
  get begun(): { asked: string; body: Record<string, unknown> } | undefined {
    return this.#content.begun;
  }

  /** The upload of a file, if the bucket still has it. */
  uploaded(file: string): Uploaded | undefined {
    const found = this.#content.uploads[file];
    return found !== undefined && Date.now() - found.at < usable_ms ? found : undefined;
  }

  async addUpload(file: string, uploaded: Uploaded): Promise<void> {
    const uploads = { ...this.#content.uploads, [file]: { ...uploaded, at: Date.now() } };
    await this.#keep({ ...this.#content, uploads });
  }

  /** Records a request before it is sent. */
  async begin(asked: string, body: Record<string, unknown>): Promise<void> {
    await this.#keep({ ...this.#content, begun: { asked, body } });
  }

  /** Removes a request that the server has rejected. */
  async removeRequest(): Promise<void> {
    await this.#keep({ uploads: this.#content.uploads });
  }

  /** Writes the record atomically. */
  async #keep(changed: z.output<typeof content>): Promise<void> {
    this.#content = changed;
    const part = `${this.#path}.${process.pid}`;
    try {
      await writeFile(part, `${JSON.stringify({ ...this.#identity, ...changed })}\n`, { mode: 0o600 });
      await rename(part, this.#path);
    } catch (error) {
      throw isSystemError(error) ? recordFailure(error, this.#path) : error;
    }
  }
}

function recordFailure(error: NodeJS.ErrnoException, path: string): CliFailure {
  return new CliFailure(
    `The record of the import cannot be stored. ${systemMessage(error, path)} \`--state FOLDER\` selects another folder.`,
  );
}
