import * as z from 'zod';
import type { Config } from '../../src/core/config.ts';
import { ApiError } from '../../src/core/errors.ts';
import { states } from '../../src/schema/table-state.ts';
import { type Field, fieldType } from '../../src/schema/types.ts';
import { pageQuery, wholeNumber } from './paging.ts';

export const retentionSchema = z.strictObject({
  totalDays: z
    .int()
    .min(1)
    .max(36_500)
    .meta({ description: 'rows are deleted this number of days after their timestamp' }),
  hotDays: z.int().min(1).optional().meta({
    description: 'rows move to the cold volume after this number of days; requires a storage policy with a cold volume',
  }),
});

export const stateSchema = z.enum(['active', 'frozen', 'archived']).meta({
  description:
    '`frozen`: rejects rows; `archived`: rejects rows and is not listed; `active`: accepts rows, and cancels a deletion',
});

export const listQuery = {
  ...pageQuery,
  search: z.string().min(1).max(100).optional().meta({ description: 'a part of the name' }),
  state: z
    .enum(states)
    .optional()
    .meta({ description: 'state of the entries; by default, every state except `archived`' }),
};

export const graceQuery = z.strictObject({
  graceSeconds: wholeNumber(0, 365 * 86_400)
    .optional()
    .meta({ description: 'time in which the deletion can be cancelled: 7 days by default, at most 365 days' }),
});
export const grace_s = 7 * 86_400;

/** Throws ApiError `invalid-request` for a retention that the deployment does not support. */
export function requireRetention(retention: z.output<typeof retentionSchema> | null | undefined, config: Config): void {
  const { hotDays, totalDays } = retention ?? {};
  if (hotDays === undefined || totalDays === undefined) return;
  const problems: string[] = [];
  if (config.CLICKHOUSE_STORAGE_POLICY === undefined) {
    problems.push('retention.hotDays: the deployment has no cold volume; set CLICKHOUSE_STORAGE_POLICY');
  }
  if (hotDays >= totalDays) problems.push('retention.hotDays: must be less than totalDays');
  if (problems.length > 0) throw new ApiError('invalid-request', `${problems.join('; ')}.`);
}

/** Values of integers beyond 2^53 are strings of digits. */
export const fieldValues = z
  .array(z.union([z.string(), z.int()]))
  .min(1)
  .max(100)
  .meta({
    description: 'the values that a field of type string, integer or unsigned takes; rows with others are invalid',
  });

export const fieldSchema = z.object({
  name: z.string(),
  type: fieldType,
  default: z.string().optional().meta({ description: 'default value, as JSON text' }),
  values: fieldValues.optional(),
  required: z.literal(true).optional(),
});

export function fieldView({ name, type, default: text, values, required }: Field): z.input<typeof fieldSchema> {
  return {
    name,
    type,
    ...(text !== undefined && { default: text }),
    ...(values !== undefined && { values: values.map(fieldValue) }),
    ...(required === true && { required }),
  };
}

function fieldValue(stored: string): string | number {
  const value = JSON.parse(stored) as string | number;
  return typeof value === 'string' || Number.isSafeInteger(value) ? value : stored;
}

/** The response header of a resource that a change can require to be unchanged. */
export const etagHeader = { ETag: 'version of the resource, for `If-Match`' };
