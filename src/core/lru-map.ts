/**
 * A cache with a budget. It evicts the least recently used entries first, and does not keep an entry that is larger than
 * the whole budget.
 */
export class LruMap<Value> extends Map<string, Value> {
  #size = 0;
  readonly #sizeMax: number;
  readonly #measure: (value: Value, key: string) => number;

  /** @param measure size of an entry in the unit of `sizeMax`; by default each entry counts as 1 */
  constructor(sizeMax: number, measure: (value: Value, key: string) => number = () => 1) {
    super();
    this.#sizeMax = sizeMax;
    this.#measure = measure;
  }

  override get(key: string): Value | undefined {
    const value = super.get(key);
    if (value === undefined) return undefined;
    super.delete(key);
    super.set(key, value);
    return value;
  }

  override set(key: string, value: Value): this {
    this.delete(key);
    const size = this.#measure(value, key);
    if (size > this.#sizeMax) return this;
    super.set(key, value);
    this.#size += size;
    for (const oldest of this.keys()) {
      if (this.#size <= this.#sizeMax) break;
      this.delete(oldest);
    }
    return this;
  }

  override delete(key: string): boolean {
    const value = super.get(key);
    if (value === undefined) return false;
    this.#size -= this.#measure(value, key);
    return super.delete(key);
  }

  override clear(): void {
    super.clear();
    this.#size = 0;
  }
}
