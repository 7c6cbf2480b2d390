import { parseTimestampText } from './timestamp.ts';

/**
 * A time as that system reads it, which takes any that JavaScript does: a date alone is its midnight, and a time without a
 * zone is in UTC. What is no time stays as it is.
 */
export function timeText(text: string): string {
  if (!('reason' in parseTimestampText(text))) return text;
  const time_ms = timeOf(text);
  return time_ms === undefined ? text : new Date(time_ms).toISOString();
}

/** The same in milliseconds since 1970, what is finer cut; undefined for what is no time. */
export function timeOf(value: string | number): number | undefined {
  if (typeof value === 'number') return value;
  const isBare = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?$/.test(value);
  const time_ms = Date.parse(isBare ? `${value.replace(' ', 'T')}Z` : value);
  return Number.isNaN(time_ms) || /^\d+$/.test(value) ? undefined : time_ms;
}
