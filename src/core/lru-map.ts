/**
 * A map of what an instance keeps between requests, within a budget: the entries used least recently go first. An entry
 * that is bigger than the whole budget is not kept.
 */
export class LruMap<Value> extends Map<string, Value> {
  #size = 0;
  readonly #sizeMax: number;
  readonly #sizeOf: (value: Value, key: string) => number;

  /** @param sizeOf of an entry, in the unit of `sizeMax`; without it entries are counted */
  constructor(sizeMax: number, sizeOf: (value: Value, key: string) => number = () => 1) {
    super();
    this.#sizeMax = sizeMax;
    this.#sizeOf = sizeOf;
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
    const size = this.#sizeOf(value, key);
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
    this.#size -= this.#sizeOf(value, key);
    return super.delete(key);
  }

  override clear(): void {
    super.clear();
    this.#size = 0;
  }
}
