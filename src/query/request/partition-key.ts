import * as z from 'zod';
import { limitExceeded } from '../../core/invalid-request.ts';
import type { Limits } from '../../core/limits.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import { arrayText, parameterText } from '../../stores/clickhouse/parameter.ts';
import { listTooLong } from './bind-value.ts';

export const partitionKeySchema = z.record(z.string(), z.union([z.string(), z.array(z.string()).min(1)]));

/** Comparisons with the value of an entry, which is text. Values that cannot be read as the type do not match. Times in ms. */
type Comparisons = {
  type: 'string' | 'number' | 'timestamp';
  comparisons: { op: 'eq' | 'in' | 'gt' | 'gte' | 'lt' | 'lte'; values: (string | number)[] }[];
};

/** Required entries: each with a value, alternative values, or comparisons that must all hold. */
export type PartitionKey = Record<string, string | string[] | Comparisons>;

/** SQL of the conditions on the partition key. */
export function partitionKeySql(key: PartitionKey, limits: Limits, params: Settings): string[] {
  return Object.entries(key).flatMap(([name, accepted], i) => {
    params[`param__k${i}`] = parameterText(name);
    const hasEntry = `mapContains(_partition, {_k${i}:String})`;
    if (typeof accepted !== 'string' && !Array.isArray(accepted)) {
      return [...comparisonsSql(accepted, `_partition[{_k${i}:String}]`, `_v${i}`, limits, params), hasEntry];
    }
    const values = [accepted].flat();
    if (values.length > limits.query_list_max) throw listTooLong('filters.partitionKey', limits);
    params[`param__v${i}`] = arrayText(values);
    return [`_partition[{_k${i}:String}] IN {_v${i}:Array(String)} AND ${hasEntry}`];
  });
}

const infix = { eq: '=', gt: '>', gte: '>=', lt: '<', lte: '<=' } as const;

/** How a value is parsed, and the type of the comparison. */
const readAs = {
  string: { read: (text: string) => text, type: 'String' },
  number: { read: (text: string) => `toFloat64OrNull(${text})`, type: 'Float64' },
  timestamp: {
    read: (text: string) => `toUnixTimestamp64Milli(parseDateTime64BestEffortOrNull(${text}, 3, 'UTC'))`,
    type: 'Int64',
  },
} as const;

function comparisonsSql(
  { type, comparisons }: Comparisons,
  text: string,
  name: string,
  limits: Limits,
  params: Settings,
): string[] {
  if (comparisons.length > limits.query_filters_max) {
    throw limitExceeded(
      `filters.partitionKey: at most ${limits.query_filters_max} comparisons (limit query_filters_max)`,
    );
  }
  const { read, type: bound } = readAs[type];
  return comparisons.map(({ op, values }) => {
    const parameter = `${name}${op}`;
    if (op === 'in') {
      if (values.length > limits.query_list_max) throw listTooLong('filters.partitionKey', limits);
      params[`param_${parameter}`] = arrayText(values.map(String), type !== 'string');
      return `ifNull(has({${parameter}:Array(${bound})}, ${read(text)}), 0)`;
    }
    params[`param_${parameter}`] = parameterText(String(values[0]));
    return `ifNull(${read(text)} ${infix[op]} {${parameter}:${bound}}, 0)`;
  });
}
