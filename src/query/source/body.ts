import * as z from 'zod';
import { quarantineTable } from '../../catalog/quarantine-table.ts';
import { slug } from '../../core/identifiers.ts';
import { aggregation, downsampleSchema } from '../request/downsample.ts';
import { filterSchema } from '../request/filters.ts';
import { queryBody } from '../request/parse.ts';

const scalar = z.union([z.string(), z.number(), z.boolean()]);
const one = scalar.nullish();

const valueTypes = { string: 'string', number: 'number', timestamp: 'string', boolean: 'boolean' } as const;
const comparisons = ['eq', 'in', 'gt', 'gte', 'lt', 'lte'] as const;

/** Comparisons with one column or one entry of the partition key, which must all hold. */
const predicate = z
  .strictObject({
    type: z.enum(['string', 'number', 'timestamp', 'boolean']).default('string'),
    eq: one,
    in: z.array(scalar).min(1).nullish(),
    gt: one,
    gte: one,
    lt: one,
    lte: one,
  })
  .superRefine((value, { addIssue }) => {
    const named = comparisons.filter((name) => value[name] !== undefined && value[name] !== null);
    const jsonType = valueTypes[value.type];
    if (named.length === 0)
      addIssue({ code: 'custom', message: `at least one comparison is required: ${comparisons.join(', ')}` });
    for (const name of named) {
      const isWrong = [value[name]].flat().some((each) => typeof each !== jsonType);
      if (isWrong) addIssue({ code: 'custom', path: [name], message: `a ${value.type} is sent as a ${jsonType}` });
      const isOrder = name !== 'eq' && name !== 'in';
      if (isOrder && value.type === 'boolean') {
        addIssue({ code: 'custom', path: [name], message: 'a boolean takes eq and in only' });
      }
    }
  })
  .meta({ id: 'OriginalPredicate' });

export type Predicate = z.output<typeof predicate>;

const fn = z
  .strictObject({
    fn: z.enum(['avg', 'min', 'max', 'sum', 'median', 'count', 'count_distinct', 'percentile']),
    column: z.string().nullish(),
    percentile: z.number().min(0).max(1).nullish(),
    alias: z.string().min(1).max(256).nullish(),
  })
  .refine(({ fn: name, column }) => name === 'count' || typeof column === 'string', 'column is required')
  .refine(
    ({ fn: name, percentile }) => (name === 'percentile') === (typeof percentile === 'number'),
    'percentile (0 to 1) belongs to the function percentile, which requires it',
  )
  .meta({ id: 'OriginalAggregation' });

export type SourceAggregation = z.output<typeof fn>;

/**
 * The body of a query of the source system of a takeover, of `/v1`, or with members of both. Null means absent.
 */
export const sourceQueryBody = queryBody
  .extend({
    tableName: z
      .union([slug, z.literal(quarantineTable)])
      .nullish()
      .meta({ description: 'default: `records`, else the only table of the dataset' }),
    timeRange: queryBody.shape.timeRange.nullable().meta({
      description: 'rows with start ≤ timestamp ≤ end; a missing bound is open',
    }),
    timestampColumn: z.string().nullish().meta({ description: '`timestamp` means the timestamp column of any table' }),
    columns: z.array(z.string()).max(1_000).nullish().meta({
      description: 'fields of the answer, beside the timestamp; for a downsampled answer, the fields to group by',
    }),
    filters: z
      .strictObject({
        partitionKey: z
          .record(z.string(), z.union([z.string(), z.array(z.string()).min(1), predicate]))
          .nullish()
          .meta({ description: 'entries of the partition key: a value, a list of values, or comparisons' }),
        columns: z
          .union([z.array(filterSchema), z.record(z.string(), predicate)])
          .nullish()
          .meta({ description: 'comparisons by column, or conditions of `/v1`; all must hold' }),
      })
      .nullish(),
    downsample: downsampleSchema
      .extend({
        intervalUnit: downsampleSchema.shape.intervalUnit.default('minute'),
        aggregations: z.array(z.union([fn, aggregation])).min(1),
      })
      .nullish(),
    limit: z.int().positive().nullish().meta({
      description: 'maximum number of rows; default: the maximum of a JSON answer, all rows in other formats',
    }),
  })
  .meta({ id: 'OriginalQuery' });

export type SourceQueryBody = z.output<typeof sourceQueryBody>;
