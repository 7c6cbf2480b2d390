import { TimestoreError } from './errors.ts';

/** More than these many writes between two reads, and the oldest are left to what every read has anyway. */
const tokensMost = 50;

/**
 * What reads of a client must have: the tokens of its own writes, and of what it has read. Each is of one table and says
 * nothing to a client but that.
 */
export class Watermarks {
  readonly #tokens = new Map<string, Set<string>>();

  /** After a write. */
  add(table: string, token: string): void {
    const known = this.#tokens.get(table) ?? new Set();
    known.delete(token);
    known.add(token);
    const [oldest] = known;
    if (known.size > tokensMost && oldest !== undefined) known.delete(oldest);
    this.#tokens.set(table, known);
  }

  /** Before a read of these tables. */
  of(tables: string[]): string[] {
    return tables.flatMap((table) => [...(this.#tokens.get(table) ?? [])]);
  }

  /**
   * Reads. Where the server has lost what the tokens of these tables are of, they are forgotten after it was said: with
   * them nothing could be read ever again.
   */
  async heard<Answer>(tables: string[], read: () => Promise<Answer>): Promise<Answer> {
    try {
      return await read();
    } catch (error) {
      if (error instanceof TimestoreError && error.problem.lost === true) {
        for (const table of tables) this.#tokens.delete(table);
      }
      throw error;
    }
  }

  /** After a read that had at least `sent`: its own token stands for all of them. */
  replace(table: string, sent: string[], token: string | null | undefined): void {
    if (typeof token !== 'string') return;
    const known = this.#tokens.get(table);
    for (const old of sent) known?.delete(old);
    this.add(table, token);
  }
}
