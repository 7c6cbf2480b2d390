import * as z from 'zod';
import { recordLine } from '../../src/catalog/audit-log/statement.ts';
import { slug } from '../../src/core/identifiers.ts';
import { discardRecords, mayBeCut, openRecords, replayRecords } from '../../src/operations/quarantine/replay.ts';
import { routes } from '../http/app.ts';
import { requireDataset, requireScope } from '../http/auth.ts';
import { parseBody } from '../http/body.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { nextSchema, pageOf, pageQuery, queryAs, wanted } from '../http/paging.ts';
import { requireSlug } from '../http/params.ts';

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

export const quarantineRoutes = routes()
  .get(
    '/v1/admin/quarantine/:dataset',
    openApiRoute({
      summary: 'Rows in quarantine',
      example: { path: { dataset: 'demo' }, query: { table: 'readings' } },
      description: 'Those that nothing has become of. All there ever were are in table `_quarantine` of the dataset.',
      tag: 'Admin',
      path: ['dataset'],
      query: listQuery,
      answers: { 200: { description: 'The rows, the earliest first', schema: listSchema } },
      errors: ['not-found'],
    }),
    requireScope('admin'),
    async (c) => {
      const dataset = requireSlug('dataset', c.req.param('dataset'));
      const { table, cursor, limit } = queryAs(c, listQuery);
      const asked = { table, after: cursor, limit: wanted(limit) };
      const records = await openRecords(c.get('ctx'), dataset, asked);
      const { items, last } = pageOf(records, limit);
      const next = (last ?? (mayBeCut(items) ? items.at(-1) : undefined))?.id ?? null;
      return c.json({ rows: items, next } as z.input<typeof listSchema>);
    },
  )
  .post(
    '/v1/admin/quarantine/replay',
    openApiRoute({
      summary: 'Send rows from quarantine again',
      example: { body: { dataset: 'demo', table: 'readings' } },
      description: `At most ${rowsMax} at once, the earliest first. Each is accepted once, however often and however late this is called.`,
      tag: 'Admin',
      body: { required: true, types: { 'application/json': replayBody } },
      answers: { 200: { description: 'What became of them', schema: replayedSchema } },
      errors: ['not-found', 'conflict', 'buffer-full', 'quota-exceeded'],
    }),
    requireScope('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const { dataset, table, ids } = await parseBody(c, replayBody);
      requireDataset(c, ['admin'], dataset);
      const chosen = await openRecords(ctx, dataset, { table, ids, limit: rowsMax });
      const detail = { rows: chosen.length };
      if (chosen.length > 0) await recordLine(ctx, { action: 'quarantine.replay', dataset, table, detail });
      const result = await replayRecords(ctx, dataset, chosen);
      c.set('event', { replayed: result.replayed, refused: result.refused.length, waiting: result.waiting });
      return c.json(result satisfies z.input<typeof replayedSchema>);
    },
  )
  .post(
    '/v1/admin/quarantine/discard',
    openApiRoute({
      summary: 'Leave rows in quarantine for good',
      example: { body: { dataset: 'demo', ids: ['5f2b6c0e9d1a4b7c8e3f2a1b0c9d8e7f'] } },
      description: 'They are not listed and not sent again; they stay on record in table `_quarantine`.',
      tag: 'Admin',
      body: { required: true, types: { 'application/json': discardBody } },
      answers: { 200: { description: 'How many of them were open', schema: z.object({ discarded: z.int() }) } },
      errors: ['not-found', 'conflict', 'buffer-full'],
    }),
    requireScope('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const { dataset, ids } = await parseBody(c, discardBody);
      requireDataset(c, ['admin'], dataset);
      const chosen = await openRecords(ctx, dataset, { ids, limit: rowsMax });
      const detail = { ids: chosen.map(({ id }) => id) };
      if (chosen.length > 0) await recordLine(ctx, { action: 'quarantine.discard', dataset, detail });
      const discarded = await discardRecords(ctx, dataset, chosen);
      c.set('event', { discarded });
      return c.json({ discarded });
    },
  );
