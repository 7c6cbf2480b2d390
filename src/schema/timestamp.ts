import type { Refusal } from './coerce.ts';
import type { Member } from './json-reader.ts';

/** 1970-01-01T00:00:00.000Z and 2105-12-31T23:59:59.999Z: the range of all ClickHouse date functions. */
export const time_ms_min = 0;
export const time_ms_max = Date.UTC(2106, 0, 1) - 1;

/** A time: milliseconds since 1970 in UTC, and finer digits. */
export type Time = {
  time_ms: number;
  /** No, three or six digits; the last three are not all zeros. */
  finer: string;
};

/** Fractional digits of a table's timestamps. */
export type TimePrecision = 3 | 6 | 9;

/** Default of old tables, and of new ones. */
export const oldPrecision: TimePrecision = 3;
export const newPrecision: TimePrecision = 9;

const form =
  /^(\d{4})-(\d{2})-(\d{2})([Tt ])(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?$/;
const epochForm = /^-?(?:0|[1-9]\d*)$/;

/**
 * Parses a timestamp: RFC 3339, `YYYY-MM-DD hh:mm:ss[.fff]` in UTC, with up to nine fractional digits, or epoch
 * milliseconds as a number.
 */
export function parseTimestamp(value: Pick<Member, 'kind' | 'text' | 'escaped'>): Time | Refusal {
  if (value.kind === 'number') {
    if (!epochForm.test(value.text)) return bad('epoch milliseconds are a whole number');
    const time_ms = Number(value.text);
    return isLikelySeconds(time_ms) ? bad(secondsDetail) : inRange(time_ms);
  }
  if (value.kind !== 'string') return bad('a timestamp is a string or epoch milliseconds');
  // Some writers use unnecessary escapes, such as \u002b for +.
  return parseTimestampText(value.escaped ? (JSON.parse(value.text) as string) : value.text.slice(1, -1));
}

/** Seconds since 1970 for years from 1973 on, which as milliseconds would be times of 1970. */
const epochSeconds = { from: 100_000_000, before: Date.UTC(1971, 0, 1) };

const secondsDetail =
  'epoch milliseconds in 1970 that look like seconds; send milliseconds, or a time of 1970 as text with its date';

function isLikelySeconds(time_ms: number): boolean {
  return time_ms >= epochSeconds.from && time_ms < epochSeconds.before;
}

/** Parses a timestamp without quotes, as in CSV and query parameters. */
export function parseTimestampText(text: string): Time | Refusal {
  const parts = form.exec(text);
  if (parts === null) return bad('not RFC 3339 and not YYYY-MM-DD hh:mm:ss[.fff]');
  const [, year, month, day, separator, hour, minute, second, fraction = '', zone] = parts;
  if (zone === undefined && separator !== ' ') return bad('a time with T needs a zone: Z or ±hh:mm');
  const time_ms = Date.UTC(
    Number(year),
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute),
    Number(second),
    Number(fraction.slice(0, 3).padEnd(3, '0')),
  );
  // Date.UTC would accept 31 April as 1 May, and hour 25 as the next day.
  const back = new Date(time_ms);
  const exists =
    back.getUTCMonth() === Number(month) - 1 &&
    back.getUTCDate() === Number(day) &&
    back.getUTCHours() === Number(hour) &&
    back.getUTCMinutes() === Number(minute) &&
    back.getUTCSeconds() === Number(second);
  if (second === '60') return bad('a leap second has no time of its own; send second 59, or the one after it');
  if (!exists) return bad('there is no such date or time');
  return inRange(time_ms - zoneOffset_ms(zone), finerDigits(fraction.slice(3)));
}

/** Parses a time for comparisons: a time out of range is before or after all timestamps. */
export function parseTimeBound(text: string): Time | Refusal {
  const time = parseTimestampText(text);
  if (!('reason' in time) || time.reason !== 'out-of-range') return time;
  return { time_ms: text < '2000' ? time_ms_min - 1 : time_ms_max + 1, finer: '' };
}

/** Normalises up to six digits after the milliseconds. */
function finerDigits(digits: string): string {
  return digits.padEnd(6, '0').replace(/(?:000){1,2}$/, '');
}

/** Negative if `a` is earlier. */
export function compareTimes(a: Time, b: Time): number {
  if (a.time_ms !== b.time_ms) return a.time_ms - b.time_ms;
  if (a.finer === b.finer) return 0;
  return a.finer < b.finer ? -1 : 1;
}

/** The problem of a time in a table of a precision, if any. */
export function tooFine({ finer }: Time, precision: TimePrecision): Refusal | undefined {
  if (finer.length + 3 <= precision) return undefined;
  return {
    reason: 'not-exact',
    detail: `the table has ${precision} fractional digits; round the time, or use a table with timestampPrecision 9`,
  };
}

/**
 * The stored form of a timestamp in UTC, with three, six or nine fractional digits as needed: `2026-05-01 10:00:00.000`. The
 * order of texts is the order of times.
 */
export function storedTimestamp(time_ms: number, finer = ''): string {
  const iso = new Date(time_ms).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 23)}${finer}`;
}

/**
 * The fast path for the time between two offsets of `text` in the form of JSON.stringify of a Date: `2026-05-01T10:00:00.000Z`,
 * without milliseconds, or with six or nine digits of which the last three are not all zeros. Returns milliseconds; undefined
 * for other forms, which `parseTimestampText` may accept.
 */
export function utcTimestamp(text: string, start: number, end: number): number | undefined {
  const length = end - start;
  const hasFraction = length === 24 || length === 27 || length === 30;
  if (!hasFraction && length !== 20) return undefined;
  if (length > 24 && !isFiner(text, start + 23, end - 1)) return undefined;
  const month = twoDigits(text, start + 5);
  const day = twoDigits(text, start + 8);
  const hour = twoDigits(text, start + 11);
  const minute = twoDigits(text, start + 14);
  const second = twoDigits(text, start + 17);
  const fraction_ms = hasFraction ? twoDigits(text, start + 20) * 10 + digit(text, start + 22) : 0;
  const year = twoDigits(text, start) * 100 + twoDigits(text, start + 2);
  const isOfForm =
    text[start + 4] === '-' &&
    text[start + 7] === '-' &&
    text[start + 10] === 'T' &&
    text[start + 13] === ':' &&
    text[start + 16] === ':' &&
    (!hasFraction || text[start + 19] === '.') &&
    text[end - 1] === 'Z';
  // A character that is not a digit yields NaN, and all comparisons with NaN are false.
  const isTime = hour < 24 && minute < 60 && second < 60 && fraction_ms < 1_000;
  const isDay = year >= 1970 && year < 2106 && day >= 1 && day <= daysOf(year, month);
  if (!isOfForm || !isTime || !isDay) return undefined;
  return midnight_ms(year, month, day) + ((hour * 60 + minute) * 60 + second) * 1_000 + fraction_ms;
}

/** Whether the text between two offsets has only digits, and the last three are not all zeros. */
function isFiner(text: string, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) if (Number.isNaN(digit(text, at))) return false;
  return !text.startsWith('000', end - 3);
}

/** Cached, because most rows of a request have the same day. */
let lastDay = { date: 0, midnight_ms: 0 };

function midnight_ms(year: number, month: number, day: number): number {
  const date = (year * 100 + month) * 100 + day;
  if (lastDay.date !== date) lastDay = { date, midnight_ms: Date.UTC(year, month - 1, day) };
  return lastDay.midnight_ms;
}

/** NaN for an invalid month. */
function daysOf(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1] ?? Number.NaN;
}

function twoDigits(text: string, at: number): number {
  return digit(text, at) * 10 + digit(text, at + 1);
}

function digit(text: string, at: number): number {
  const value = text.charCodeAt(at) - 0x30;
  return value >= 0 && value <= 9 ? value : Number.NaN;
}

function zoneOffset_ms(zone: string | undefined): number {
  if (zone === undefined || zone.length === 1) return 0;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4, 6));
  return (zone.startsWith('-') ? -minutes : minutes) * 60_000;
}

function inRange(time_ms: number, finer = ''): Time | Refusal {
  if (time_ms >= time_ms_min && time_ms <= time_ms_max) return { time_ms, finer };
  return { reason: 'out-of-range', detail: 'timestamps must be from 1970 to 2105' };
}

function bad(detail: string): Refusal {
  return { reason: 'bad-timestamp', detail };
}
