import type { Table } from '../schema/table.ts';
import { runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import { encodeRanges, parseRanges } from './chunk-plan.ts';
import type { BufferDeps } from './deps.ts';
import skipLua from './lua/skip.lua';
import type { Seal } from './seal.ts';

const skipScript = script(skipLua);

/** Indices of rejected rows in their batch, by the sequence of the batch. */
export type SkipList = Map<number, Set<number>>;

/** Canonical text of a list: `7:0-2,5 9:1`. */
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
 * Records the rejected rows in the seal, so that every flush that takes it over omits the same rows.
 *
 * @returns the seal with the list; undefined if this flush has lost the seal or another one has changed the list
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
