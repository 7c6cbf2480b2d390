import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { setUpMonitoring } from '../../src/monitoring/dataset/set-up.ts';
import { readStorage } from '../../src/monitoring/dataset/storage.ts';
import { validateMonitoring } from '../../src/monitoring/dataset/validate.ts';
import { fieldType } from '../../src/schema/types.ts';
import { requireDataset } from '../http/auth.ts';
import { datasetQuery, monitorReadScopes } from '../http/monitor-request.ts';
import { route } from '../http/route.ts';

const query = z.strictObject(datasetQuery);

const differenceSchema = z
  .object({
    table: z.string(),
    column: z.string().nullable(),
    what: z.enum(['table', 'column', 'type', 'key', 'timestamp column', 'partition', 'retention', 'right']),
    expected: z.string(),
    actual: z.string(),
    isLasting: z.boolean().meta({ description: 'whether the set-up cannot remove it' }),
  })
  .meta({ id: 'MonitorDifference' });

const tableSchema = z.object({
  name: z.string(),
  kind: z.enum(['rows', 'configuration', 'view']).meta({
    description: '`rows`: a table; `configuration`: resources of the dataset; `view`: computed when it is read',
  }),
  columns: z.array(
    z.object({
      name: z.string(),
      type: fieldType,
      clickhouseType: z.string(),
      isKey: z.boolean(),
      isRequired: z.boolean(),
      values: z
        .array(z.union([z.string(), z.int()]))
        .nullable()
        .meta({ description: 'the values that the column takes' }),
    }),
  ),
  partition: z.string().nullable(),
  retentionDays: z.int().nullable(),
  isReadable: z.boolean().nullable().meta({ description: 'whether queries may read the table in ClickHouse' }),
});

export const monitorDatasetRoutes = [
  route(
    {
      method: 'post',
      path: '/v1/monitor/setup',
      scope: 'admin',
      tag: 'Monitoring',
      summary: 'Set up a monitored dataset',
      description:
        'Makes the dataset and its tables `service_status`, `service_metrics` and `service_logs`. A repetition changes only what ' +
        'differs. Tables that differ in what cannot be changed are a 409 with the differences, and nothing is changed. A longer ' +
        'retention stays, because a shorter one would delete rows.',
      query,
      responses: {
        200: {
          description: 'The changes',
          schema: z
            .object({
              dataset: z.string(),
              created: z.array(z.string()),
              changed: z.array(z.string()),
              left: z.array(differenceSchema),
            })
            .meta({ id: 'MonitorSetUp' }),
        },
      },
      errors: ['not-found', 'conflict', 'dataset-frozen'],
      example: { query: { dataset: 'monitor' } },
    },
    async ({ c, ctx, query: { dataset }, json }) => {
      requireDataset(c, ['admin'], dataset);
      return json(200, await setUpMonitoring(ctx, dataset));
    },
  ),
  route(
    {
      method: 'get',
      path: '/v1/monitor/schema',
      scope: monitorReadScopes,
      tag: 'Monitoring',
      summary: 'Validate a monitored dataset',
      description:
        'The tables as the set-up makes them, with columns, types, keys, partitions, retention and rights, and the differences of ' +
        'the catalogue and of every ClickHouse server.',
      query,
      responses: {
        200: {
          description: 'The expected tables and the differences',
          schema: z
            .object({
              dataset: z.string(),
              isSetUp: z.boolean(),
              tables: z.array(tableSchema),
              differences: z.array(differenceSchema),
            })
            .meta({ id: 'MonitorSchema' }),
        },
      },
      errors: ['not-found'],
      example: { query: { dataset: 'monitor' } },
    },
    async ({ c, ctx, query: { dataset }, json }) => {
      requireDataset(c, [...monitorReadScopes], dataset);
      return json(200, await validateMonitoring(ctx, dataset));
    },
  ),
  route(
    {
      method: 'get',
      path: '/v1/monitor/storage',
      scope: monitorReadScopes,
      tag: 'Monitoring',
      summary: 'Sizes and slow queries of a dataset',
      description:
        'Rows and bytes of the tables, how far ClickHouse is behind the acknowledged rows, and the slowest queries of the last 24 ' +
        'hours, without their values. Works for every dataset. A key with a row filter is refused, because the numbers count all ' +
        'rows.',
      query,
      responses: {
        200: {
          description: 'The tables and queries',
          schema: z
            .object({
              dataset: z.string(),
              tables: z.array(
                z.object({
                  name: z.string(),
                  retentionDays: z.int().nullable(),
                  rows: z.int().meta({ description: 'in ClickHouse' }),
                  bytes: z.int(),
                  uncompressedBytes: z.int(),
                  parts: z.int(),
                  partitions: z.int(),
                  pendingRows: z.int().nullable().meta({ description: 'acknowledged, and not in ClickHouse yet' }),
                  behind_ms: z.number().nullable().meta({ description: 'age of the oldest of these rows' }),
                }),
              ),
              slowQueries: z
                .array(
                  z.object({
                    query: z.string(),
                    runs: z.int(),
                    longest_ms: z.int(),
                    mean_ms: z.int(),
                    readRows: z.int(),
                  }),
                )
                .nullable()
                .meta({ description: 'null where Timestore may not read `system.query_log`' }),
            })
            .meta({ id: 'MonitorStorage' }),
        },
      },
      errors: ['not-found'],
      example: { query: { dataset: 'demo' } },
    },
    async ({ c, ctx, key, query: { dataset }, json }) => {
      const scopes = [...monitorReadScopes];
      requireDataset(c, scopes, dataset);
      if (key.reader('query').rowFilter !== null) {
        throw new ApiError('forbidden', 'A key with a row filter cannot read sizes: they count rows of others.');
      }
      return json(200, await readStorage(ctx, dataset));
    },
  ),
];
