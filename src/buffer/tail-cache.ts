import type { TableRef } from '../core/identifiers.ts';
import { inEachInstance } from '../core/instance-memory.ts';
import { LruMap } from '../core/lru-map.ts';
import type { BufferedBatch } from './buffered-batch.ts';

/** The batches of each lane of a table that an instance has seen, ascending. */
export type CachedTails = Map<number, BufferedBatch[]>;

/** The tails that this instance has seen, so that only what is new has to be sent. Tables not asked for lately go first. */
export class TailCache {
  readonly #tables: LruMap<{ lanes: CachedTails; chars: number }>;

  /**
   * @param charsMax of payload; the 128 MiB of an isolate are shared with everything else it does, and a batch that was sent
   *   with a query has its bytes in RowBinary beside it, about half as much again
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

/** The batches of tails that an instance has seen. */
export const tailCache = inEachInstance(({ limits }) => new TailCache(limits.kept_tails_chars_max));
