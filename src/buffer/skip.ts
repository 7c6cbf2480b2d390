import type { Table } from '../schema/table.ts';
import { runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import { encodeRanges, parseRanges } from './chunk-plan.ts';
import type { BufferDeps } from './deps.ts';
import skipLua from './lua/skip.lua';
import type { Seal } from './seal.ts';

const skipScript = script(skipLua);

/** Places in their batches of rows that are not sent, by the batch's sequence. */
export type SkipList = Map<number, Set<number>>;

/** As text, the same for the same rows: `7:0-2,5 9:1`. */
export function encodeSkip(skip: SkipList): string {
  const ascending = (a: number, b: number) => a - b;
  return [...skip.keys()]
    .sort(ascending)
    .map((seq) => `${seq}:${encodeRanges([...(skip.get(seq) ?? [])].sort(ascending))}`)
    .join(' ');
}

export function parseSkip(text: string): SkipList {
  if (text === '') return new Map();
  return new Map(
    text.split(' ').map((entry) => {
      const [seq, ranges = ''] = entry.split(':');
      return [Number(seq), new Set(parseRanges(ranges))];
    }),
  );
}

export function skippedRows(skip: SkipList): number {
  return [...skip.values()].reduce((sum, rows) => sum + rows.size, 0);
}

/**
 * Records in the seal itself which of its rows are not sent, so that everybody who goes on with it leaves out the same.
 *
 * @returns the seal with it, or undefined when it is not this flusher's any more, or another has changed the list
 */
export async function recordSkip(
  ctx: BufferDeps,
  table: Table,
  lane: number,
  seal: Seal,
  skip: SkipList,
): Promise<Seal | undefined> {
  const [outcome] = await runScript<['recorded' | 'fenced']>(
    ctx.redis,
    skipScript,
    { state: ctx.keys.state(table, lane) },
    { epoch: seal.epoch, token: seal.token, seenSkip: encodeSkip(seal.skip), skip: encodeSkip(skip) },
  );
  return outcome === 'recorded' ? { ...seal, skip } : undefined;
}
