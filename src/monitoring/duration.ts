import * as z from 'zod';

const unit_ms: Record<string, number> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };
const pattern = /^(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,6})s)?(?:(\d{1,6})ms)?$/;

/**
 * A duration in milliseconds of a text such as `1d2h30m15s500ms`: whole numbers with their units, the largest unit first.
 * Undefined for any other text.
 */
export function durationOf(text: string): number | undefined {
  const parts = pattern.exec(text)?.slice(1);
  if (text === '' || parts === undefined) return undefined;
  return Object.values(unit_ms).reduce((sum, unit, i) => sum + unit * Number(parts[i] ?? 0), 0);
}

/** The shortest text of a duration, for `durationOf`. */
export function durationText(duration_ms: number): string {
  let left = duration_ms;
  let text = '';
  for (const [name, unit] of Object.entries(unit_ms)) {
    const count = Math.floor(left / unit);
    if (count > 0) text += `${count}${name}`;
    left -= count * unit;
  }
  return text === '' ? '0s' : text;
}

/** A duration as text, within bounds. The text stays as it was sent; `durationOf` reads it. */
export function duration({ least, most }: { least: string; most: string }) {
  const [least_ms, most_ms] = [durationOf(least) ?? 0, durationOf(most) ?? 0];
  return z
    .string()
    .max(40)
    .refine((text) => {
      const found = durationOf(text);
      return found !== undefined && found >= least_ms && found <= most_ms;
    }, `a duration from ${least} to ${most}, such as 90s, 5m or 1d12h`);
}

/** The milliseconds of a duration that a schema has checked. */
export function msOf(text: string): number {
  const found = durationOf(text);
  if (found === undefined) throw new Error(`${text} is a checked duration`);
  return found;
}
