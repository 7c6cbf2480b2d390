import * as z from 'zod';
import { changeTable } from '../src/catalog/change-table.ts';
import type { Table } from '../src/catalog/table.ts';
import type { Config } from '../src/config.ts';
import { TimestoreError } from '../src/errors.ts';
import { fieldType } from '../src/schema/types.ts';
import { routes } from './app.ts';
import { requireScope } from './auth.ts';
import { bodyAs } from './body.ts';
import { describe } from './describe.ts';
import { slugOf } from './path.ts';

const retention = z.strictObject({
  totalDays: z.int().min(1).max(36_500).meta({ description: 'rows go so many days after their timestamp' }),
  hotDays: z
    .int()
    .min(1)
    .optional()
    .meta({ description: 'and move to the cold volume after so many; needs a storage policy with one' }),
});

const changeBody = z.strictObject({
  lanes: z.int().min(1).optional().meta({ description: 'logs of the table in the hot buffer, flushed side by side' }),
  retention: retention.nullable().optional().meta({ description: 'null keeps rows for ever' }),
});

const tableSchema = z
  .object({
    dataset: z.string(),
    name: z.string(),
    lanes: z.int(),
    retention: retention.nullable(),
    partition: z.enum(['hour', 'day', 'month']),
    schema: z.object({
      version: z.int(),
      timestampColumn: z.string(),
      keyFields: z.array(z.string()),
      fields: z.array(
        z.object({
          name: z.string(),
          type: fieldType,
          default: z.string().optional().meta({ description: 'as JSON text' }),
        }),
      ),
    }),
  })
  .meta({ id: 'Table' });

export const tableRoutes = routes().patch(
  '/v1/admin/datasets/:dataset/tables/:table',
  describe({
    summary: 'Change a table',
    description:
      'The number of its lanes and how long its rows are kept. Clients may write, retry and read meanwhile: keys that were ' +
      'accepted are remembered whatever the number of lanes is.',
    tag: 'Admin',
    path: ['dataset', 'table'],
    body: { required: true, types: { 'application/json': changeBody } },
    answers: { 200: { description: 'The table as it is now', schema: tableSchema } },
    errors: [
      ...(['malformed-body', 'invalid-request', 'unauthenticated', 'not-found', 'conflict'] as const),
      ...(['unsupported-media-type', 'unavailable'] as const),
    ],
  }),
  requireScope('admin'),
  async (c) => {
    const timestore = c.get('timestore');
    const [dataset, name] = [slugOf('dataset', c.req.param('dataset')), slugOf('table', c.req.param('table'))];
    const change = await bodyAs(c, changeBody);
    requirePossible(change, timestore.config);
    return c.json(viewOf(await changeTable(timestore, dataset, name, change)));
  },
);

function requirePossible({ lanes, retention: wanted }: z.output<typeof changeBody>, config: Config): void {
  const problems: string[] = [];
  if (lanes === undefined && wanted === undefined) problems.push('name what to change: lanes, retention');
  if (lanes !== undefined && lanes > config.limits.lanes_max) {
    problems.push(`lanes: at most ${config.limits.lanes_max} (limit lanes_max)`);
  }
  if (wanted?.hotDays !== undefined) {
    if (config.CLICKHOUSE_STORAGE_POLICY === undefined) {
      problems.push('retention.hotDays: there is no cold volume; set CLICKHOUSE_STORAGE_POLICY');
    }
    if (wanted.hotDays >= wanted.totalDays) problems.push('retention.hotDays: must be less than totalDays');
  }
  if (problems.length > 0) throw new TimestoreError('invalid-request', `${problems.join('; ')}.`);
}

function viewOf({ dataset, name, lanes, retention: kept, window, schema }: Table): z.input<typeof tableSchema> {
  const fields = schema.fields.map(({ name: field, type, default: text }) => ({
    ...{ name: field, type },
    ...(text !== undefined && { default: text }),
  }));
  const { version, timestampColumn, keyFields } = schema;
  return {
    ...{ dataset, name, lanes, retention: kept ?? null, partition: window },
    schema: { version, timestampColumn, keyFields, fields },
  };
}
