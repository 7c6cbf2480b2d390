import { parseTimestampText } from './timestamp.ts';

/**
 * Converts a time of the source system of a takeover, which accepts all times of JavaScript: a date is its midnight, and a time
 * without a zone is UTC. Other text stays unchanged.
 */
export function timeText(text: string): string {
  if (!('reason' in parseTimestampText(text))) return text;
  const time_ms = timeOf(text);
  return time_ms === undefined ? text : new Date(time_ms).toISOString();
}

/** The time in milliseconds since 1970, truncated; undefined for other text. */
export function timeOf(value: string | number): number | undefined {
  if (typeof value === 'number') return value;
  const isBare = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?$/.test(value);
  const time_ms = Date.parse(isBare ? `${value.replace(' ', 'T')}Z` : value);
  return Number.isNaN(time_ms) || /^\d+$/.test(value) ? undefined : time_ms;
}
