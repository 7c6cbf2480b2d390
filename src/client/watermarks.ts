import { TimestoreError } from './errors.ts';

/** Older tokens are dropped: a default read includes all acknowledged rows anyway. */
const tokens_max = 50;

/**
 * The watermark tokens that reads of a client require: of its writes and of its earlier reads. A token belongs to one table
 * and is opaque to the client.
 */
export class Watermarks {
  readonly #tokens = new Map<string, Set<string>>();

  /** Called after a write. */
  add(table: string, token: string): void {
    const known = this.#tokens.get(table) ?? new Set();
    known.delete(token);
    known.add(token);
    const [oldest] = known;
    if (known.size > tokens_max && oldest !== undefined) known.delete(oldest);
    this.#tokens.set(table, known);
  }

  /** The tokens for a read of these tables. */
  of(tables: string[]): string[] {
    return tables.flatMap((table) => [...(this.#tokens.get(table) ?? [])]);
  }

  /**
   * Runs a read. Where the server has lost the rows of the tokens, drops the tokens of these tables: with them, every later
   * read would fail too.
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

  /** Called after a read that required `sent`: the token of the answer replaces these. */
  replace(table: string, sent: string[], token: string | null | undefined): void {
    if (typeof token !== 'string') return;
    const known = this.#tokens.get(table);
    for (const old of sent) known?.delete(old);
    this.add(table, token);
  }
}
