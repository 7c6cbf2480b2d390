import type { Downsample } from './downsample.ts';

const unit_s = { second: 1, minute: 60, hour: 3_600, day: 86_400, week: 604_800 } as const;
const month_s_min = 28 * unit_s.day;

/** The minimum length of an interval, without changes of the clock. */
export function minIntervalLength_ms({ intervalUnit, intervalSize }: Downsample): number {
  return 1_000 * intervalSize * (intervalUnit === 'month' ? month_s_min : unit_s[intervalUnit]);
}

/**
 * How the start of an interval is computed: by ClickHouse, or by the clock of the time zone for a length in seconds. Equal
 * lengths have equal boundaries, whatever their unit: 60 minutes are an hour, and 48 hours two days.
 */
type Rounding = { unit: 'hour' | 'day' | 'week' | 'month'; size: number } | { unit: 'clock'; length_s: number };

function chooseRounding({ intervalUnit, intervalSize }: Downsample): Rounding {
  if (intervalUnit === 'day' || intervalUnit === 'week' || intervalUnit === 'month') {
    return { unit: intervalUnit, size: intervalSize };
  }
  const length_s = intervalSize * unit_s[intervalUnit];
  if (length_s % unit_s.day === 0) return { unit: 'day', size: length_s / unit_s.day };
  const hours = length_s / unit_s.hour;
  const dividesDay = (Number.isInteger(hours) && 24 % hours === 0) || (intervalUnit === 'hour' && hours < 24);
  // ClickHouse rounds single hours wrongly on days when a clock changes by half an hour.
  return dividesDay && hours > 1 ? { unit: 'hour', size: hours } : { unit: 'clock', length_s };
}

/** SQL of the start of the interval of a time, in the time zone of the parameter `_tz`, as an instant. */
export function intervalStartSql(time: string, downsample: Downsample): string {
  const rounding = chooseRounding(downsample);
  if (rounding.unit === 'clock') return startByClock(`toInt64(toUnixTimestamp(${time}))`, rounding.length_s);
  const begin = `toStartOfInterval(${time}, INTERVAL ${rounding.size} ${rounding.unit.toUpperCase()}, {_tz:String})`;
  // ClickHouse returns days and longer intervals as dates, which begin at midnight of the time zone.
  return `toDateTime64(toDateTime(${begin}, {_tz:String}), 3, 'UTC')`;
}

/**
 * SQL of a list of the interval starts between two times, both excluded. The candidates lie so close together that no start
 * is missed where clocks change.
 *
 * @param from the start of an interval, or a time right before one
 */
export function intervalStartsBetweenSql(from: string, to: string, downsample: Downsample): string {
  const rounding = chooseRounding(downsample);
  const step_s =
    rounding.unit === 'clock' ? rounding.length_s : (rounding.unit === 'hour' ? unit_s.hour : unit_s.day) / 2;
  const steps = `range(toUInt64(greatest(0, intDiv(toUnixTimestamp64Milli(t) - toUnixTimestamp64Milli(f), ${step_s * 1_000}) + 2)))`;
  const candidates = `arrayMap(i -> fromUnixTimestamp64Milli(toUnixTimestamp64Milli(f) + i * ${step_s * 1_000}, 'UTC'), ${steps})`;
  const begins = `arrayMap(c -> ${intervalStartSql('c', downsample)}, ${candidates})`;
  const all =
    rounding.unit === 'clock'
      ? `arraySort(arrayConcat(${begins}, ${shortenedStarts(steps, rounding.length_s)}))`
      : begins;
  return bind({ f: from, t: to }, `arrayFilter(b -> b > f AND b < t, arrayDistinct(${all}))`);
}

/** Starts of intervals that a change of the clock shortens: such an interval begins with the change, between two candidates. */
function shortenedStarts(steps: string, length_s: number): string {
  const instants = `arrayMap(i -> intDiv(toUnixTimestamp64Milli(f), 1000) + i * ${length_s}, ${steps})`;
  const spanning = `arrayFilter(a -> ${offsetAt('a')} != ${offsetAt(`a + ${length_s}`)}, ${instants})`;
  const changes = `arrayMap(a -> ${changeAfter('a', length_s)}, ${spanning})`;
  return `arrayMap(c -> ${startByClock('c', length_s)}, ${changes})`;
}

/** An expression over named values, which are written and evaluated once. */
function bind(values: Record<string, string>, expression: string): string {
  const lists = Object.values(values).map((value) => `[${value}]`);
  return `arrayMap((${Object.keys(values).join(', ')}) -> ${expression}, ${lists.join(', ')})[1]`;
}

/**
 * The start by the clock of the time zone, counted from 1970-01-01. An interval that does not fit around a change of the
 * clock begins with the change: where the clock skips its start, and where its start lies before the clock goes back. A
 * repeated hour is two intervals.
 *
 * @param at seconds since 1970
 */
function startByClock(at: string, length_s: number): string {
  const begin = `${at} - positiveModulo(${at} + ${offsetAt(at)}, ${length_s})`;
  const change = changeAfter(`${begin} - 1`, length_s + 1);
  const fitsAround = `w < ${length_s} AND b - w + ${length_s} >= c`;
  const atChange = bind(
    { b: begin, w: `${offsetAt(`${begin} - 1`)} - ${offsetAt(at)}`, c: change },
    `if(w < 0, least(b - w, c), if(${fitsAround}, b - w, c))`,
  );
  const isPlain = `${offsetAt(`${begin} - 1`)} = ${offsetAt(at)}`;
  return `fromUnixTimestamp64Milli(1000 * if(${isPlain}, ${begin}, ${atChange}), 'UTC')`;
}

/** The seconds by which the clock of the time zone is ahead of UTC at an instant. */
function offsetAt(at: string): string {
  return `timezoneOffset(fromUnixTimestamp64Milli(1000 * (${at}), {_tz:String}))`;
}

/** The instant after `from` at which the offset changes, if it changes within `length_s`; found by bisection. */
function changeAfter(from: string, length_s: number): string {
  const halvings = Math.ceil(Math.log2(length_s));
  const middle = 'intDiv(x.1 + x.2, 2)';
  const halved = `if(${offsetAt(middle)} = ${offsetAt('x.1')}, (${middle}, x.2), (x.1, ${middle}))`;
  return `arrayFold((x, n) -> ${halved}, range(${halvings}), (toInt64(${from}), toInt64(${from} + ${length_s}))).2`;
}
