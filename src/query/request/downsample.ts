import * as z from 'zod';

const functions = [
  'avg',
  'min',
  'max',
  'sum',
  'median',
  'count',
  'count_distinct',
  'percentile',
  'first',
  'last',
] as const;

export type AggregateFunction = (typeof functions)[number];

export const aggregation = z.strictObject({
  function: z.enum(functions),
  column: z.string().optional().meta({ description: 'the field; `count` without a column counts rows' }),
  percentile: z.number().min(0).max(100).optional(),
  as: z
    .string()
    .min(1)
    .max(256)
    .optional()
    .meta({ description: 'the name of the column in the answer; by default such as `avg_celsius`' }),
});

export const downsampleSchema = z.strictObject({
  intervalUnit: z.enum(['second', 'minute', 'hour', 'day', 'week', 'month']),
  intervalSize: z.int().min(1).max(10_000).default(1),
  timeZone: z
    .string()
    .regex(/^[A-Za-z0-9_+/-]{1,64}$/)
    .default('UTC')
    .meta({
      description: 'time zone of the interval boundaries, of minutes and hours too',
      examples: ['Europe/Zurich'],
    }),
  aggregations: z.array(aggregation).min(1),
  groupBy: z.array(z.string()).max(16).default([]),
  fill: z
    .enum(['none', 'null', 'zero', 'previous'])
    .default('none')
    .meta({
      description:
        'values of intervals without rows. They are added to each group within the time range, and without a start or an ' +
        'end only from the first or to the last interval with rows',
    }),
});

export type Downsample = z.output<typeof downsampleSchema>;
