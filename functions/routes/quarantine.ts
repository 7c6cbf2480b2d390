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
  table: slug.optional().meta({ description: 'of this table only' }),
  ...pageQuery,
  cursor: recordId.optional().meta({ description: '`next` of the page before' }),
});

const listSchema = z
  .object({
    rows: z.array(
      z.looseObject({
        id: z.string(),
        timestamp: z.string().meta({ description: 'when it was set aside' }),
        table: z.string(),
        origin: z.enum(['request', 'flush']).meta({
          description: '`request`: refused when it was sent; `flush`: acknowledged, and refused by ClickHouse',
        }),
        reason: z.string(),
        detail: z.string(),
        field: z.string().optional(),
        payload: z.string().optional().meta({
          description: 'as it was sent, of CSV as the JSON that its cells meant; or as it was buffered',
        }),
        object: z.string().optional().meta({ description: 'where the payload is in the object store, if it is large' }),
      }),
    ),
    next: nextSchema,
  })
  .meta({ id: 'QuarantinedRows' });

const replayBody = z.strictObject({
  dataset: slug,
  table: slug.optional(),
  ids: z.array(recordId).min(1).max(rowsMax).optional().meta({ description: 'all that is open, if left out' }),
});

const discardBody = z.strictObject({ dataset: slug, ids: z.array(recordId).min(1).max(rowsMax) });

const replayedSchema = z
  .object({
    replayed: z.int().meta({ description: 'accepted now, as new rows' }),
    stored: z.int().meta({ description: 'had come to ClickHouse after all' }),
    refused: z.array(z.object({ id: z.string(), reason: z.string(), detail: z.string() })),
    waiting: z.int().meta({
      description:
        'set aside so lately that an insert with them may still be on its way; ask again after `retryAfterMs`',
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
      summary: 'Rows in quarantine',
      description: 'Those that nothing has become of. All there ever were are in table `_quarantine` of the dataset.',
      params: datasetParams,
      query: listQuery,
      responses: { 200: { description: 'The rows, the earliest first', schema: listSchema } },
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
      summary: 'Send rows from quarantine again',
      description: `At most ${rowsMax} at once, the earliest first. Each is accepted once, however often and however late this is called.`,
      body: replayBody,
      responses: { 200: { description: 'What became of them', schema: replayedSchema } },
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
      summary: 'Leave rows in quarantine for good',
      description: 'They are not listed and not sent again; they stay on record in table `_quarantine`.',
      body: discardBody,
      responses: { 200: { description: 'How many of them were open', schema: z.object({ discarded: z.int() }) } },
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
