import type { TableRef } from '../names.ts';
import type { BufferedBatch } from './buffered-batch.ts';

/** The batches of each lane of a table that an instance has seen, ascending. */
export type TailMemory = Map<number, BufferedBatch[]>;

/** The tails that this instance has seen, so that only what is new has to be sent. Tables not asked for lately go first. */
export class KeptTails {
  readonly #tables = new Map<string, { lanes: TailMemory; chars: number }>();
  #chars = 0;
  readonly #charsMax: number;

  /**
   * @param charsMax of payload; the 128 MiB of an isolate are shared with everything else it does, and a batch that was sent
   *   with a query has its bytes in RowBinary beside it, about half as much again
   */
  constructor(charsMax: number) {
    this.#charsMax = charsMax;
  }

  of(table: TableRef): TailMemory | undefined {
    return this.#tables.get(keyOf(table))?.lanes;
  }

  keep(table: TableRef, lanes: { lane: number; tail: BufferedBatch[] }[]): void {
    const key = keyOf(table);
    this.#forget(key);
    const chars = lanes.reduce((sum, { tail }) => sum + tail.reduce((n, { payload }) => n + payload.length, 0), 0);
    if (chars === 0 || chars > this.#charsMax) return;
    this.#tables.set(key, { lanes: new Map(lanes.map(({ lane, tail }) => [lane, tail])), chars });
    this.#chars += chars;
    for (const oldest of this.#tables.keys()) {
      if (this.#chars <= this.#charsMax) return;
      this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    this.#chars -= this.#tables.get(key)?.chars ?? 0;
    this.#tables.delete(key);
  }
}

function keyOf({ dataset, physical }: TableRef): string {
  return `${dataset}.${physical}`;
}
