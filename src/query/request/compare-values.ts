import { compareText } from './text-match.ts';

/** A value of a row in the tail: null, or a value that JavaScript compares as ClickHouse does. Decimals are in units. */
export type HotValue = null | number | bigint | string | boolean | string[] | number[] | Map<string, string>;

/** Below 0 where `a` is less; strings in the order of their bytes; NaN is neither less, greater nor equal. Neither is null. */
export function compareValues(a: HotValue, b: HotValue): number {
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.NaN;
  const [left, right] = [a, b] as [number | bigint, number | bigint];
  if (left < right) return -1;
  return left > right ? 1 : 0;
}
