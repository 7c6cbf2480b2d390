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
  column: z.string().optional().meta({ description: 'the field; `count` without one counts rows' }),
  percentile: z.number().min(0).max(100).optional(),
  as: z.string().min(1).max(256).optional().meta({ description: 'the name in the answer, such as `avg_celsius`' }),
});

export const downsampleSchema = z.strictObject({
  intervalUnit: z.enum(['second', 'minute', 'hour', 'day', 'week', 'month']),
  intervalSize: z.int().min(1).max(10_000).default(1),
  timeZone: z
    .string()
    .regex(/^[A-Za-z0-9_+/-]{1,64}$/)
    .default('UTC')
    .meta({ description: 'where intervals begin: minutes and hours too', examples: ['Europe/Zurich'] }),
  aggregations: z.array(aggregation).min(1),
  groupBy: z.array(z.string()).max(16).default([]),
  fill: z
    .enum(['none', 'null', 'zero', 'previous'])
    .default('none')
    .meta({
      description:
        'what intervals without rows have, within the time range where it has a start and an end, else between the first ' +
        'and the last one with rows. Of each group by itself',
    }),
});

export type Downsample = z.output<typeof downsampleSchema>;
