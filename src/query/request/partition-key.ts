import * as z from 'zod';
import { limitExceeded } from '../../core/invalid-request.ts';
import type { Limits } from '../../core/limits.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import { arrayText, parameterText } from '../../stores/clickhouse/parameter.ts';
import { listTooLong } from './bind-value.ts';

export const partitionKeySchema = z.record(z.string(), z.union([z.string(), z.array(z.string()).min(1)]));

/** Comparisons with the value of an entry, which is text; what cannot be read as the type is not found. Times are in ms. */
type Tests = {
  type: 'string' | 'number' | 'timestamp';
  tests: { op: 'eq' | 'in' | 'gt' | 'gte' | 'lt' | 'lte'; values: (string | number)[] }[];
};

/** Entries that rows were sent with: each with its value, one of its values, or comparisons that all hold. */
export type PartitionKey = Record<string, string | string[] | Tests>;

/** SQL of a partition key: entries that all must be there, each with one of its values. */
export function partitionKeySql(key: PartitionKey, limits: Limits, params: Settings): string[] {
  return Object.entries(key).flatMap(([name, wanted], i) => {
    params[`param__k${i}`] = parameterText(name);
    const isThere = `mapContains(_partition, {_k${i}:String})`;
    if (typeof wanted !== 'string' && !Array.isArray(wanted)) {
      return [...testsSql(wanted, `_partition[{_k${i}:String}]`, `_v${i}`, limits, params), isThere];
    }
    const values = [wanted].flat();
    if (values.length > limits.query_list_max) throw listTooLong('filters.partitionKey', limits);
    params[`param__v${i}`] = arrayText(values);
    return [`_partition[{_k${i}:String}] IN {_v${i}:Array(String)} AND ${isThere}`];
  });
}

const infix = { eq: '=', gt: '>', gte: '>=', lt: '<', lte: '<=' } as const;

/** How a value is read, and the type that it is compared as. */
const readAs = {
  string: { read: (text: string) => text, type: 'String' },
  number: { read: (text: string) => `toFloat64OrNull(${text})`, type: 'Float64' },
  timestamp: {
    read: (text: string) => `toUnixTimestamp64Milli(parseDateTime64BestEffortOrNull(${text}, 3, 'UTC'))`,
    type: 'Int64',
  },
} as const;

function testsSql({ type, tests }: Tests, text: string, name: string, limits: Limits, params: Settings): string[] {
  if (tests.length > limits.query_filters_max) {
    throw limitExceeded(
      `filters.partitionKey: at most ${limits.query_filters_max} comparisons (limit query_filters_max)`,
    );
  }
  const { read, type: bound } = readAs[type];
  return tests.map(({ op, values }) => {
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
