import type { Downsample } from './downsample.ts';

const unit_s = { second: 1, minute: 60, hour: 3_600, day: 86_400, week: 604_800 } as const;
const monthLeast_s = 28 * unit_s.day;

/** How long an interval is at least, where no clock changes. In ms. */
export function minIntervalLength_ms({ intervalUnit, intervalSize }: Downsample): number {
  return 1_000 * intervalSize * (intervalUnit === 'month' ? monthLeast_s : unit_s[intervalUnit]);
}

/**
 * How an interval's beginning is found: by ClickHouse, or by the clock of the time zone for a length in seconds. Equal
 * lengths begin at the same instants, whatever unit they are said in: 60 minutes are an hour, and 48 hours two days.
 */
type Rounding = { unit: 'hour' | 'day' | 'week' | 'month'; size: number } | { unit: 'clock'; length_s: number };

function chooseRounding({ intervalUnit, intervalSize }: Downsample): Rounding {
  if (intervalUnit === 'day' || intervalUnit === 'week' || intervalUnit === 'month') {
    return { unit: intervalUnit, size: intervalSize };
  }
  const length_s = intervalSize * unit_s[intervalUnit];
  if (length_s % unit_s.day === 0) return { unit: 'day', size: length_s / unit_s.day };
  const hours = length_s / unit_s.hour;
  const isOfDay = (Number.isInteger(hours) && 24 % hours === 0) || (intervalUnit === 'hour' && hours < 24);
  // ClickHouse has single hours wrong on days when clocks change by half an hour.
  return isOfDay && hours > 1 ? { unit: 'hour', size: hours } : { unit: 'clock', length_s };
}

/** SQL of when the interval that a time lies in began, in the time zone of the parameter `_tz`, as an instant. */
export function intervalStartSql(time: string, downsample: Downsample): string {
  const way = chooseRounding(downsample);
  if (way.unit === 'clock') return beginByClock(`toInt64(toUnixTimestamp(${time}))`, way.length_s);
  const begin = `toStartOfInterval(${time}, INTERVAL ${way.size} ${way.unit.toUpperCase()}, {_tz:String})`;
  // Days and longer ones come as dates, which begin when their day does there.
  return `toDateTime64(toDateTime(${begin}, {_tz:String}), 3, 'UTC')`;
}

/**
 * SQL of a list with the beginnings of intervals between two times, neither of them among it. From one time to the other,
 * candidates lie so close that none is missed where clocks change.
 *
 * @param from the beginning of an interval, or a time right before one
 */
export function intervalStartsBetweenSql(from: string, to: string, downsample: Downsample): string {
  const way = chooseRounding(downsample);
  const step_s = way.unit === 'clock' ? way.length_s : (way.unit === 'hour' ? unit_s.hour : unit_s.day) / 2;
  const steps = `range(toUInt64(greatest(0, intDiv(toUnixTimestamp64Milli(t) - toUnixTimestamp64Milli(f), ${step_s * 1_000}) + 2)))`;
  const candidates = `arrayMap(i -> fromUnixTimestamp64Milli(toUnixTimestamp64Milli(f) + i * ${step_s * 1_000}, 'UTC'), ${steps})`;
  const begins = `arrayMap(c -> ${intervalStartSql('c', downsample)}, ${candidates})`;
  const all = way.unit === 'clock' ? `arraySort(arrayConcat(${begins}, ${cutBegins(steps, way.length_s)}))` : begins;
  return bound({ f: from, t: to }, `arrayFilter(b -> b > f AND b < t, arrayDistinct(${all}))`);
}

/** Intervals that a change of the clock cuts may lie between two candidates: they begin with that change. */
function cutBegins(steps: string, length_s: number): string {
  const ats = `arrayMap(i -> intDiv(toUnixTimestamp64Milli(f), 1000) + i * ${length_s}, ${steps})`;
  const over = `arrayFilter(a -> ${offsetAt('a')} != ${offsetAt(`a + ${length_s}`)}, ${ats})`;
  const changes = `arrayMap(a -> ${changeAfter('a', length_s)}, ${over})`;
  return `arrayMap(c -> ${beginByClock('c', length_s)}, ${changes})`;
}

/** An expression over names for others, so that these are written and evaluated once. */
function bound(values: Record<string, string>, expression: string): string {
  const lists = Object.values(values).map((value) => `[${value}]`);
  return `arrayMap((${Object.keys(values).join(', ')}) -> ${expression}, ${lists.join(', ')})[1]`;
}

/**
 * By the clock of the time zone, whose first day is 1970-01-01. No interval lasts over a change of the clock that it does
 * not fit: one whose beginning was skipped begins with the change, and so does one whose beginning came an hour before the
 * clock went back to it. An hour that comes twice is two intervals.
 *
 * @param at seconds since 1970
 */
function beginByClock(at: string, length_s: number): string {
  const begin = `${at} - positiveModulo(${at} + ${offsetAt(at)}, ${length_s})`;
  const change = changeAfter(`${begin} - 1`, length_s + 1);
  const isLasting = `w < ${length_s} AND b - w + ${length_s} >= c`;
  const overChange = bound(
    { b: begin, w: `${offsetAt(`${begin} - 1`)} - ${offsetAt(at)}`, c: change },
    `if(w < 0, least(b - w, c), if(${isLasting}, b - w, c))`,
  );
  const isPlain = `${offsetAt(`${begin} - 1`)} = ${offsetAt(at)}`;
  return `fromUnixTimestamp64Milli(1000 * if(${isPlain}, ${begin}, ${overChange}), 'UTC')`;
}

/** The seconds by which the clock of the time zone is ahead of UTC at an instant. */
function offsetAt(at: string): string {
  return `timezoneOffset(fromUnixTimestamp64Milli(1000 * (${at}), {_tz:String}))`;
}

/** The instant, of those after `from`, from which on the offset is another one, when it has changed within `length_s`. */
function changeAfter(from: string, length_s: number): string {
  const halvings = Math.ceil(Math.log2(length_s));
  const middle = 'intDiv(x.1 + x.2, 2)';
  const halved = `if(${offsetAt(middle)} = ${offsetAt('x.1')}, (${middle}, x.2), (x.1, ${middle}))`;
  return `arrayFold((x, n) -> ${halved}, range(${halvings}), (toInt64(${from}), toInt64(${from} + ${length_s}))).2`;
}
