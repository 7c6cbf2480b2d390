import * as z from 'zod';
import { physicalName } from '../core/identifiers.ts';
import { states } from './table-state.ts';
import { fieldType, type TableSchema, timestampPrecision } from './types.ts';

export const retentionSchema = z.object({ totalDays: z.int().positive(), hotDays: z.int().positive().optional() });

/** What the catalogue says of a table, in the form that the functions keep. */
const definition = z.object({
  dataset: z.string(),
  name: z.string(),
  life: z.int().positive(),
  window: z.enum(['hour', 'day', 'month']),
  /** How many lanes writers choose among, and how many there are for readers: never fewer than there ever were. */
  lanes: z.int().positive(),
  readLanes: z.int().positive(),
  /** The shard of each lane, which it has for ever; all of them are on the first where nothing is said. */
  shards: z.array(z.int().positive()).optional(),
  /** Counts the changes of all but the schema. */
  revision: z.int().positive(),
  /** Its own or its dataset's. */
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
        since: z.int().positive().optional(),
      }),
    ),
  }),
});

export type Table = z.output<typeof definition> & { physical: string; schema: TableSchema; shards: number[] };

/** How long rows are kept after their time, and after how much of it they move to the cold volume. */
export type Retention = NonNullable<Table['retention']>;

const day_ms = 86_400_000;

/** Rows before this time are dropped as soon as ClickHouse gets them; undefined where all are kept. */
export function retainedFrom_ms(table: Pick<Table, 'retention'> | undefined, now_ms: number): number | undefined {
  return table?.retention === undefined ? undefined : now_ms - table.retention.totalDays * day_ms;
}

export function parseTable(value: unknown): Table {
  const table = definition.parse(value);
  const shards = table.shards ?? Array.from({ length: table.readLanes }, () => 1);
  return { ...table, shards, physical: physicalName(table.name, table.life) };
}

/** The canonical text of a definition: the same for the same definition. */
export function tableText({ schema, ...table }: Table): string {
  const { dataset, name, life, window, lanes, readLanes, shards, revision, state, retention } = table;
  const rest = { dataset, name, life, revision, window, lanes, readLanes, shards, state, retention };
  return JSON.stringify({ ...rest, schema: JSON.parse(schemaText(schema)) });
}

/** The canonical text of a schema, which its checksum is of. The version is not part of it. */
export function schemaText({ version, timestampColumn, timestampPrecision, keyFields, fields }: TableSchema): string {
  return JSON.stringify({
    version,
    timestampColumn,
    timestampPrecision,
    keyFields,
    fields: fields.map((field) => ({ name: field.name, type: field.type, default: field.default, since: field.since })),
  });
}
