import * as z from 'zod';
import { listTargets } from '../../src/catalog/storage-targets.ts';
import { route } from '../http/route.ts';

const targetSchema = z
  .object({
    kind: z.enum(['clickhouse', 's3']),
    name: z.string(),
    shard: z.int().nullable().meta({ description: 'shard of a cluster node' }),
    available: z.boolean().meta({ description: 'true if it answers' }),
    policy: z.string().nullable().meta({ description: 'storage policy of new tables' }),
    volumes: z.array(
      z.object({
        name: z.string(),
        disks: z.array(z.object({ name: z.string(), type: z.string(), freeBytes: z.number(), totalBytes: z.number() })),
        usedBytes: z.number().meta({ description: 'bytes of the rows of Timestore' }),
        rows: z.number(),
      }),
    ),
  })
  .meta({ id: 'StorageTarget' });

export const storageTargetRoutes = [
  route(
    {
      method: 'get',
      path: '/v1/admin/storage-targets',
      scope: 'admin',
      allDatasets: true,
      tag: 'Catalogue',
      summary: 'List storage targets',
      description:
        'Lists the ClickHouse server or the nodes of the cluster, with the usage of their volumes, and the bucket.',
      responses: { 200: { description: 'The storage targets', schema: z.object({ targets: z.array(targetSchema) }) } },
      example: {},
    },
    async ({ ctx, json }) => {
      return json(200, { targets: await listTargets(ctx) });
    },
  ),
];
