import * as z from 'zod';
import { physicalName } from '../core/identifiers.ts';
import { states } from './table-state.ts';
import { fieldType, type TableSchema, timestampPrecision } from './types.ts';

export const retentionSchema = z.object({ totalDays: z.int().positive(), hotDays: z.int().positive().optional() });

/** The definition of a table, as cached and passed between layers. */
const definition = z.object({
  dataset: z.string(),
  name: z.string(),
  life: z.int().positive(),
  window: z.enum(['hour', 'day', 'month']),
  /** Number of lanes for writers, and for readers. The number for readers never decreases. */
  lanes: z.int().positive(),
  readLanes: z.int().positive(),
  /** The permanent shard of each lane. Default: shard 1. */
  shards: z.array(z.int().positive()).optional(),
  /** Counts changes other than those of the schema. */
  revision: z.int().positive(),
  /** Effective values of the table or its dataset. */
  state: z.enum(states).default('active'),
  retention: retentionSchema.optional(),
  schema: z.object({
    version: z.int().positive(),
    timestampColumn: z.string(),
    timestampPrecision: timestampPrecision.optional(),
    keyFields: z.array(z.string()),
    fields: z.array(
      z.object({
        name: z.string(),
        type: fieldType,
        default: z.string().optional(),
        values: z.array(z.string()).optional(),
        required: z.literal(true).optional(),
        since: z.int().positive().optional(),
      }),
    ),
  }),
});

export type Table = z.output<typeof definition> & { physical: string; schema: TableSchema; shards: number[] };

/** Days until rows are dropped after their time, and days until they move to the cold volume. */
export type Retention = NonNullable<Table['retention']>;

const day_ms = 86_400_000;

/** ClickHouse drops rows before this time at once. Undefined without a retention. */
export function retainedFrom_ms(table: Pick<Table, 'retention'> | undefined, now_ms: number): number | undefined {
  return table?.retention === undefined ? undefined : now_ms - table.retention.totalDays * day_ms;
}

export function parseTable(value: unknown): Table {
  const table = definition.parse(value);
  const shards = table.shards ?? Array.from({ length: table.readLanes }, () => 1);
  return { ...table, shards, physical: physicalName(table.name, table.life) };
}

/** The canonical text of a definition. */
export function tableText({ schema, ...table }: Table): string {
  const { dataset, name, life, window, lanes, readLanes, shards, revision, state, retention } = table;
  const rest = { dataset, name, life, revision, window, lanes, readLanes, shards, state, retention };
  return JSON.stringify({ ...rest, schema: JSON.parse(schemaText(schema)) });
}

/** The canonical text of a schema, for storage and its checksum. */
export function schemaText({ version, timestampColumn, timestampPrecision, keyFields, fields }: TableSchema): string {
  return JSON.stringify({
    version,
    timestampColumn,
    timestampPrecision,
    keyFields,
    fields: fields.map(({ name, type, default: text, since, values, required }) => {
      return { name, type, default: text, since, values, required };
    }),
  });
}
