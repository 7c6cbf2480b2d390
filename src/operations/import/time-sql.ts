import { quoteString } from '../../core/identifiers.ts';
import type { TimePrecision } from '../../schema/timestamp.ts';

/** SQL that reads a column as a field: the value, and whether a value is present but invalid. */
export type Reading = {
  value: string;
  isWrong: string;
  /** Whether the value is invalid because the object does not distinguish null from empty. */
  isUnclear?: string;
};

/** 1970 to 2105 in seconds, and the numbers that are rejected as probable epoch seconds; as in `src/schema/timestamp.ts`. */
const seconds = { before: 4_291_747_200, likelyFrom_ms: 100_000_000, likelyBefore_ms: 31_536_000_000 };

const day = '[0-9]{4}-[0-9]{2}-[0-9]{2}';
const clock = '([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?';
const zone = '([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])';
const form = quoteString(`^${day}([Tt]${clock}${zone}|[ ]${clock}${zone}?)$`);

/** Reads text as a time by the rules of requests: a number as text is invalid. */
export function timeOfText(x: string, precision: TimePrecision): Reading {
  const text = `ifNull(${x}, '')`;
  const date = `substring(${text}, 1, 10)`;
  const number = (from: number, length: number) => `toInt64OrZero(substring(${text}, ${from}, ${length}))`;
  const offset = `extract(${text}, '([+-][0-9]{2}:[0-9]{2})$')`;
  const offsetMinutes = `if(length(${text}) < 20 OR ${offset} = '', 0, (toInt64OrZero(substring(${offset}, 2, 2)) * 60 +
    toInt64OrZero(substring(${offset}, 5, 2))) * if(startsWith(${offset}, '-'), -1, 1))`;
  const whole = `toInt64(assumeNotNull(toDate32OrNull(${date}))) * 86400 + ${number(12, 2)} * 3600 + ${number(15, 2)} * 60 +
    ${number(18, 2)} - (${offsetMinutes}) * 60`;
  const nanos = `toInt64OrZero(rightPad(extract(${text}, '[.]([0-9]{1,9})'), 9, '0'))`;
  // ClickHouse changes a day that does not exist to another one.
  const exists = `match(${text}, ${form}) AND toString(toDate32OrNull(${date})) = ${date}`;
  const isTime = `if(${exists}, (${whole}) >= 0 AND (${whole}) < ${seconds.before}, 0)`;
  return { ...ofNanos(`if(${isTime}, (${whole}) * 1000000000 + ${nanos}, NULL)`, x, precision) };
}

/** Reads integers as epoch milliseconds, by the rules of requests. */
export function timeOfNumber(x: string, precision: TimePrecision): Reading {
  const isTime = `${x} >= 0 AND ${x} < ${seconds.before * 1_000} AND
    NOT (${x} >= ${seconds.likelyFrom_ms} AND ${x} < ${seconds.likelyBefore_ms})`;
  // Numbers outside of the valid years could be outside of the function's range too.
  const whole = `accurateCastOrNull(if(${isTime}, ${x}, NULL), 'Int64')`;
  return ofNanos(`${whole} * 1000000`, x, precision);
}

/** Reads the number of days since 1970 as midnight in UTC. */
export function timeOfDay(x: string, precision: TimePrecision): Reading {
  const isInside = `${x} >= 0 AND ${x} < ${seconds.before / 86_400}`;
  return ofNanos(`if(${isInside}, toInt64(${x}) * 86400000000000, NULL)`, x, precision);
}

/** Reads a column of a time type with `digits` fractional digits. */
export function timeOfTime(x: string, precision: TimePrecision, digits: number): Reading {
  const isInside = `${x} >= ${instant('1970')} AND ${x} < ${instant('2106')}`;
  // The range is checked before the conversion: times far outside do not fit into more digits.
  const value = `if(${isInside}, toDateTime64(${x}, ${precision}, 'UTC'), NULL)`;
  const isCut = digits <= precision ? '0' : `${value} != ${x}`;
  return { value, isWrong: `isNotNull(${x}) AND (isNull(${value}) OR ifNull(${isCut}, 1))` };
}

const instant = (year: string) => `toDateTime64('${year}-01-01 00:00:00', 3, 'UTC')`;

/** Reads nanoseconds; values with more digits than the table's precision are invalid. */
function ofNanos(nanos: string, x: string, precision: TimePrecision): Reading {
  const value = `toDateTime64(fromUnixTimestamp64Nano(${nanos}, 'UTC'), ${precision}, 'UTC')`;
  const isCut = `${nanos} % ${10 ** (9 - precision)} != 0`;
  return { value, isWrong: `isNotNull(${x}) AND (isNull(${nanos}) OR ifNull(${isCut}, 1))` };
}
