/**
 * How a request is split: the number of rows of each chunk, and the indices of quarantined rows in the request. It is stored
 * with the idempotency key, so that a retry is split in the same way.
 */
export type ChunkPlan = { rows: number[]; quarantined: number[] };

/** Encodes a plan as `3,4,1` or `3,4,1;0-2,7`. */
export function encodePlan({ rows, quarantined }: ChunkPlan): string {
  return quarantined.length === 0 ? rows.join(',') : `${rows.join(',')};${encodeRanges(quarantined)}`;
}

export function parsePlan(text: string): ChunkPlan {
  const [rows = '', ranges = ''] = text.split(';');
  return { rows: rows.split(',').map(Number), quarantined: parseRanges(ranges) };
}

/** Encodes ascending numbers as ranges: `0-2,7`. */
export function encodeRanges(numbers: number[]): string {
  const runs: [number, number][] = [];
  for (const n of numbers) {
    const run = runs.at(-1);
    if (run !== undefined && run[1] + 1 === n) run[1] = n;
    else runs.push([n, n]);
  }
  return runs.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(',');
}

export function parseRanges(text: string): number[] {
  if (text === '') return [];
  return text.split(',').flatMap((run) => {
    const [from = 0, to = from] = run.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}
