import type { TableRef } from '../core/identifiers.ts';
import { inEachInstance } from '../core/instance-memory.ts';
import { LruMap } from '../core/lru-map.ts';
import type { BufferedBatch } from './buffered-batch.ts';

/** Cached batches of each lane of a table, ascending. */
export type CachedTails = Map<number, BufferedBatch[]>;

/** Caches tails, so that Redis sends new batches only. Evicts the least recently used tables first. */
export class TailCache {
  readonly #tables: LruMap<{ lanes: CachedTails; chars: number }>;

  /**
   * @param charsMax characters of payload. A batch that a query has used also keeps its RowBinary bytes, about half as much
   *   again, and an isolate has 128 MiB for everything.
   */
  constructor(charsMax: number) {
    this.#tables = new LruMap(charsMax, ({ chars }) => chars);
  }

  of(table: TableRef): CachedTails | undefined {
    return this.#tables.get(keyOf(table))?.lanes;
  }

  keep(table: TableRef, lanes: { lane: number; tail: BufferedBatch[] }[]): void {
    const key = keyOf(table);
    const chars = lanes.reduce((sum, { tail }) => sum + tail.reduce((n, { payload }) => n + payload.length, 0), 0);
    if (chars === 0) this.#tables.delete(key);
    else this.#tables.set(key, { lanes: new Map(lanes.map(({ lane, tail }) => [lane, tail])), chars });
  }
}

function keyOf({ dataset, physical }: TableRef): string {
  return `${dataset}.${physical}`;
}

export const tailCache = inEachInstance(({ limits }) => new TailCache(limits.kept_tails_chars_max));
