import { quoteName } from '../../core/identifiers.ts';
import { storedTimestamp, type Time, type TimePrecision } from '../../schema/timestamp.ts';
import { precisionOf, type TableSchema, timeType } from '../../schema/types.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';

/** Times from `start` (included) to `end` (excluded). */
export type TimeRange = { start: Time | undefined; end: Time | undefined };

type TimeSchema = Pick<TableSchema, 'timestampColumn' | 'timestampPrecision'>;

/** A time as a parameter of the column type, or of a finer type where it has more digits. */
export function timeValue({ time_ms, finer }: Time, schema: Pick<TableSchema, 'timestampPrecision'>) {
  const digits = Math.max(precisionOf(schema), 3 + finer.length) as TimePrecision;
  return { text: storedTimestamp(time_ms, finer), type: timeType(digits) };
}

/** SQL of a time range. */
export function rangeConditions(schema: TimeSchema, { start, end }: TimeRange, params: Settings): string[] {
  const column = quoteName(schema.timestampColumn);
  const bound = (name: string, time: Time) => {
    const { text, type } = timeValue(time, schema);
    params[`param_${name}`] = text;
    return `{${name}:${type}}`;
  };
  return [
    ...(start === undefined ? [] : [`${column} >= ${bound('_from', start)}`]),
    ...(end === undefined ? [] : [`${column} < ${bound('_until', end)}`]),
  ];
}
