import type { Limits } from '../../core/limits.ts';
import { type DeclaredSchema, mergeSchema } from '../../schema/declared.ts';
import type { Retention } from '../../schema/table.ts';
import type { Field, TableSchema } from '../../schema/types.ts';
import type { PartitionWindow } from '../../schema/window.ts';
import { logLevels } from '../log-level.ts';
import { statusCodes } from '../status.ts';

/** The names of the tables that hold rows of a monitored dataset. */
export const rowTables = ['service_status', 'service_metrics', 'service_logs'] as const;
export type RowTable = (typeof rowTables)[number];

export const window: PartitionWindow = 'month';
export const retention: Retention = { totalDays: 90 };

type Column = DeclaredSchema['fields'][number] & { default?: string };

const text = (name: string): Column => ({ name, type: 'string', required: true, default: '' });

const columns: Record<RowTable, { keyFields: string[]; fields: Column[] }> = {
  service_status: {
    keyFields: ['service_id'],
    fields: [
      { name: 'service_id', type: 'string' },
      { name: 'status_code', type: 'integer', values: Object.values(statusCodes), required: true },
      // Texts are never null: argMax(message, timestamp) passes over nulls, and would give an older message.
      text('message'),
      text('service_type'),
      text('stack'),
      { name: 'details', type: 'json' },
      { name: 'response_time_ms', type: 'integer' },
      { name: 'cpu_usage', type: 'double' },
      { name: 'memory_usage', type: 'double' },
      text('source'),
      text('location'),
    ],
  },
  service_metrics: {
    keyFields: ['service_id', 'metric_name'],
    fields: [
      { name: 'service_id', type: 'string' },
      { name: 'metric_name', type: 'string' },
      { name: 'metric_value', type: 'double', required: true },
      text('metric_unit'),
      { name: 'tags', type: 'map' },
    ],
  },
  service_logs: {
    keyFields: ['service_id'],
    fields: [
      { name: 'service_id', type: 'string' },
      { name: 'log_level', type: 'string', values: [...logLevels], required: true },
      text('message'),
      text('source'),
      { name: 'error_code', type: 'string' },
      { name: 'stack_trace', type: 'string' },
      { name: 'context', type: 'map' },
    ],
  },
};

/** The schema of a table, as a new table gets it. */
export function schemaOf(name: RowTable, limits: Limits): TableSchema {
  const { keyFields, fields } = columns[name];
  const defaults = fields.flatMap(({ name: field, default: value }) => {
    return value === undefined ? [] : [{ name: field, json: JSON.stringify(value) }];
  });
  const declared = fields.map(({ default: _, ...field }) => field);
  return mergeSchema(undefined, { timestampColumn: 'timestamp', keyFields, fields: declared, defaults }, limits).schema;
}

/** Whether two fields hold the same values. */
export function isSameField(a: Field, b: Field): boolean {
  const { since: _, ...one } = a;
  const { since: __, ...other } = b;
  return stable(one) === stable(other);
}

function stable({ name, type, default: value, values, required }: Field): string {
  return JSON.stringify([name, type, value ?? null, values ?? null, required ?? false]);
}
