import { z } from 'zod';
import { physicalName } from '../names.ts';
import { fieldType, type TableSchema } from '../schema/types.ts';

/** What the catalogue says of a table, in the form that the functions keep. */
const definition = z.object({
  dataset: z.string(),
  name: z.string(),
  life: z.int().positive(),
  window: z.enum(['hour', 'day', 'month']),
  lanes: z.int().positive(),
  schema: z.object({
    version: z.int().positive(),
    timestampColumn: z.string(),
    keyFields: z.array(z.string()),
    fields: z.array(z.object({ name: z.string(), type: fieldType })),
  }),
});

export type Table = z.output<typeof definition> & { physical: string; schema: TableSchema };

export function parseTable(value: unknown): Table {
  const table = definition.parse(value);
  return { ...table, physical: physicalName(table.name, table.life) };
}

/** The canonical text of a definition: the same for the same definition. */
export function tableText({ dataset, name, life, window, lanes, schema }: Table): string {
  return JSON.stringify({ dataset, name, life, window, lanes, schema: JSON.parse(schemaText(schema)) });
}

/** The canonical text of a schema, which its checksum is of. The version is not part of it. */
export function schemaText({ version, timestampColumn, keyFields, fields }: TableSchema): string {
  return JSON.stringify({
    version,
    timestampColumn,
    keyFields,
    fields: fields.map(({ name, type }) => ({ name, type })),
  });
}
