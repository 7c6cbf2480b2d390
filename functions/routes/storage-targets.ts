import * as z from 'zod';
import { listTargets } from '../../src/catalog/storage-targets.ts';
import { route } from '../http/route.ts';

const targetSchema = z
  .object({
    kind: z.enum(['clickhouse', 's3']),
    name: z.string(),
    shard: z.int().nullable().meta({ description: 'of a node of a cluster' }),
    available: z.boolean().meta({ description: 'whether it answers' }),
    policy: z.string().nullable().meta({ description: 'the storage policy that new tables have' }),
    volumes: z.array(
      z.object({
        name: z.string(),
        disks: z.array(z.object({ name: z.string(), type: z.string(), freeBytes: z.number(), totalBytes: z.number() })),
        usedBytes: z.number().meta({ description: 'by rows of Timestore' }),
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
      summary: 'Where rows are stored',
      description:
        'The ClickHouse server, or each node of a cluster, with its volumes and how much of them rows take, and the bucket.',
      responses: { 200: { description: 'The targets', schema: z.object({ targets: z.array(targetSchema) }) } },
      example: {},
    },
    async ({ ctx, json }) => {
      return json(200, { targets: await listTargets(ctx) });
    },
  ),
];
