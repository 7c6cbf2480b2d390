import type { CompiledSql } from './compile.ts';

/** SQL that an instance has had checked: what it reads depends on its text alone. Texts not asked for lately go first. */
export class CheckedSql {
  readonly #known = new Map<string, CompiledSql>();
  #chars = 0;
  readonly #charsMax: number;

  constructor(charsMax: number) {
    this.#charsMax = charsMax;
  }

  get(sql: string): CompiledSql | undefined {
    const known = this.#known.get(sql);
    if (known !== undefined) {
      this.#known.delete(sql);
      this.#known.set(sql, known);
    }
    return known;
  }

  add(sql: string, compiled: CompiledSql): void {
    if (sql.length > this.#charsMax || this.#known.has(sql)) return;
    this.#known.set(sql, compiled);
    this.#chars += sql.length;
    for (const oldest of this.#known.keys()) {
      if (this.#chars <= this.#charsMax) return;
      this.#known.delete(oldest);
      this.#chars -= oldest.length;
    }
  }
}
