import * as z from 'zod';
import { recordLine } from '../../src/catalog/audit-log/statement.ts';
import { slug } from '../../src/core/identifiers.ts';
import { discardRecords, mayBeCut, openRecords, replayRecords } from '../../src/operations/quarantine/replay.ts';
import { requireDataset } from '../http/auth.ts';
import { nextSchema, pageOf, pageQuery, wanted } from '../http/paging.ts';
import { datasetParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const rowsMax = 1_000;

const recordId = z.string().regex(/^[0-9A-Za-z_-]{1,100}$/);

const listQuery = z.strictObject({
  table: slug.optional().meta({ description: 'only rows of this table' }),
  ...pageQuery,
  cursor: recordId.optional().meta({ description: '`next` of the previous page' }),
});

const listSchema = z
  .object({
    rows: z.array(
      z.looseObject({
        id: z.string(),
        timestamp: z.string().meta({ description: 'time of the quarantine' }),
        table: z.string(),
        origin: z.enum(['request', 'flush']).meta({
          description: '`request`: rejected on insert; `flush`: acknowledged, then rejected by ClickHouse',
        }),
        reason: z.string(),
        detail: z.string(),
        field: z.string().optional(),
        payload: z.string().optional().meta({
          description: 'row as it was sent (a CSV row as JSON), or as it was buffered',
        }),
        object: z.string().optional().meta({ description: 'key of a large payload in the object store' }),
      }),
    ),
    next: nextSchema,
  })
  .meta({ id: 'QuarantinedRows' });

const replayBody = z.strictObject({
  dataset: slug,
  table: slug.optional(),
  ids: z.array(recordId).min(1).max(rowsMax).optional().meta({ description: 'ids of rows; all open rows by default' }),
});

const discardBody = z.strictObject({ dataset: slug, ids: z.array(recordId).min(1).max(rowsMax) });

const replayedSchema = z
  .object({
    replayed: z.int().meta({ description: 'rows that were accepted as new rows' }),
    stored: z.int().meta({ description: 'rows that ClickHouse has stored already' }),
    refused: z.array(z.object({ id: z.string(), reason: z.string(), detail: z.string() })),
    waiting: z.int().meta({
      description: 'rows of which an insert may still be running; repeat the request after `retryAfterMs`',
    }),
    retryAfterMs: z.number().optional(),
  })
  .meta({ id: 'Replayed' });

export const quarantineRoutes = [
  route(
    {
      method: 'get',
      path: '/v1/admin/quarantine/:dataset',
      scope: 'admin',
      tag: 'Admin',
      summary: 'List quarantined rows',
      description:
        'Lists the open rows, which were neither replayed nor discarded. Table `_quarantine` of the dataset has all rows.',
      params: datasetParams,
      query: listQuery,
      responses: { 200: { description: 'A page of rows, oldest first', schema: listSchema } },
      example: { path: { dataset: 'demo' }, query: { table: 'readings' } },
    },
    async ({ ctx, params: { dataset }, query, json }) => {
      const { table, cursor, limit } = query;
      const asked = { table, after: cursor, limit: wanted(limit) };
      const records = await openRecords(ctx, dataset, asked);
      const { items, last } = pageOf(records, limit);
      const next = (last ?? (mayBeCut(items) ? items.at(-1) : undefined))?.id ?? null;
      return json(200, { rows: items, next } as z.input<typeof listSchema>);
    },
  ),
  route(
    {
      method: 'post',
      path: '/v1/admin/quarantine/replay',
      scope: 'admin',
      tag: 'Admin',
      summary: 'Replay quarantined rows',
      description: `Inserts at most ${rowsMax} open rows, oldest first. Each row is accepted once, even if the request is repeated.`,
      body: replayBody,
      responses: { 200: { description: 'The result for the rows', schema: replayedSchema } },
      errors: ['not-found', 'conflict', 'buffer-full', 'quota-exceeded'],
      example: { body: { dataset: 'demo', table: 'readings' } },
    },
    async ({ c, ctx, body: { dataset, table, ids }, json }) => {
      requireDataset(c, ['admin'], dataset);
      const chosen = await openRecords(ctx, dataset, { table, ids, limit: rowsMax });
      const detail = { rows: chosen.length };
      if (chosen.length > 0) await recordLine(ctx, { action: 'quarantine.replay', dataset, table, detail });
      const result = await replayRecords(ctx, dataset, chosen);
      c.set('event', { replayed: result.replayed, refused: result.refused.length, waiting: result.waiting });
      return json(200, result);
    },
  ),
  route(
    {
      method: 'post',
      path: '/v1/admin/quarantine/discard',
      scope: 'admin',
      tag: 'Admin',
      summary: 'Discard quarantined rows',
      description: 'Discarded rows are no longer listed and cannot be replayed. Table `_quarantine` keeps them.',
      body: discardBody,
      responses: { 200: { description: 'The number of discarded rows', schema: z.object({ discarded: z.int() }) } },
      errors: ['not-found', 'conflict', 'buffer-full'],
      example: { body: { dataset: 'demo', ids: ['5f2b6c0e9d1a4b7c8e3f2a1b0c9d8e7f'] } },
    },
    async ({ c, ctx, body: { dataset, ids }, json }) => {
      requireDataset(c, ['admin'], dataset);
      const chosen = await openRecords(ctx, dataset, { ids, limit: rowsMax });
      const detail = { ids: chosen.map(({ id }) => id) };
      if (chosen.length > 0) await recordLine(ctx, { action: 'quarantine.discard', dataset, detail });
      const discarded = await discardRecords(ctx, dataset, chosen);
      c.set('event', { discarded });
      return json(200, { discarded });
    },
  ),
];
