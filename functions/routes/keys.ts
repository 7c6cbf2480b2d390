import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { type Key, rowFilterSchema, scopesSchema } from '../../src/keys/key.ts';
import { createKey, findKeyRecord, listKeys, type MadeKey, revokeKey, rotateKey } from '../../src/keys/manage-keys.ts';
import { routes } from '../http/app.ts';
import { requireAll } from '../http/auth.ts';
import { parseBody } from '../http/body.ts';
import { openApiRoute } from '../http/openapi-route.ts';
import { nextSchema, numberedQuery, numberOf, queryAs } from '../http/paging.ts';

const createBody = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .max(200)
      .meta({ description: 'for people', examples: ['collector of site 7'] }),
    scopes: scopesSchema,
    rowFilter: rowFilterSchema.nullable().default(null).meta({
      description:
        'the only rows that the key reads: those whose column has this value; null for all. Not with the scope `admin`',
    }),
    expiresAt: z.iso
      .datetime({ offset: true })
      .nullable()
      .default(null)
      .meta({ description: 'when it ends by itself; null for never' }),
  })
  .refine(({ scopes, rowFilter }) => rowFilter === null || scopes.admin === undefined, {
    path: ['rowFilter'],
    message: 'a key with the scope admin reads all rows, in exports and in the quarantine; make two keys',
  });

const overlap_s_max = 90 * 86_400;

const rotateBody = z.strictObject({
  overlapSeconds: z.int().min(0).max(overlap_s_max).default(86_400).meta({
    description: 'how long the old key is still good',
  }),
});

const keyView = z
  .object({
    id: z.string(),
    name: z.string(),
    scopes: scopesSchema,
    rowFilter: rowFilterSchema.nullable(),
    state: z.enum(['active', 'expired', 'revoked']),
    createdAt: z.string(),
    expiresAt: z.string().nullable(),
    revokedAt: z.string().nullable(),
    replacedBy: z.string().nullable().meta({ description: 'the key that it was rotated to' }),
  })
  .meta({ id: 'Key' });

const madeView = keyView
  .extend({ key: z.string().meta({ description: 'what its holder sends; told here and never again' }) })
  .meta({ id: 'NewKey' });

const listView = z.object({
  keys: z.array(keyView),
  next: nextSchema,
});

const path = '/v1/admin/keys';

export const keyRoutes = routes()
  .post(
    path,
    openApiRoute({
      summary: 'Make a key',
      example: { body: { name: 'site 7', scopes: { ingest: ['demo'], query: ['demo'] } } },
      description:
        'The key itself is in this answer alone: what is kept of it is a hash. A key has scopes, each for a list of datasets ' +
        'or for all of them (`*`).',
      tag: 'Keys',
      body: { required: true, types: { 'application/json': createBody } },
      answers: { 201: { description: 'The key', schema: madeView } },
    }),
    requireAll('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const { expiresAt, ...body } = await parseBody(c, createBody);
      const expiresAt_ms = expiresAt === null ? null : Date.parse(expiresAt);
      if (expiresAt_ms !== null && expiresAt_ms <= ctx.now()) {
        throw new ApiError('invalid-request', 'expiresAt: must be later than now.');
      }
      c.header('cache-control', 'no-store');
      return c.json(madeOf(await createKey(ctx, { ...body, expiresAt_ms }), ctx.now()), 201);
    },
  )
  .get(
    path,
    openApiRoute({
      summary: 'List keys',
      example: { query: { limit: '10' } },
      description: 'The newest first, those that have ended among them.',
      tag: 'Keys',
      query: z.strictObject(numberedQuery),
      answers: { 200: { description: 'A page of keys', schema: listView } },
    }),
    requireAll('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const { cursor, limit } = queryAs(c, z.strictObject(numberedQuery));
      const { keys, next } = await listKeys(ctx, { after: numberOf(cursor), limit: limit ?? 100 });
      const views = keys.map((key) => viewOf(key, ctx.now()));
      return c.json({ keys: views, next: next === undefined ? null : String(next) } satisfies z.input<typeof listView>);
    },
  )
  .get(
    `${path}/:id`,
    openApiRoute({
      summary: 'Read a key',
      example: { path: { id: '0123456789abcdef' } },
      tag: 'Keys',
      parameters: { id: 'of the key' },
      answers: { 200: { description: 'What is on record of it', schema: keyView } },
      errors: ['not-found'],
    }),
    requireAll('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      return c.json(viewOf(await findKeyRecord(ctx, c.req.param('id')), ctx.now()));
    },
  )
  .post(
    `${path}/:id/rotate`,
    openApiRoute({
      summary: 'Rotate a key',
      example: { path: { id: '0123456789abcdef' }, body: { overlapSeconds: 3600 } },
      description: 'Makes a key that may do the same. The old one ends after an overlap in which both are good.',
      tag: 'Keys',
      parameters: { id: 'of the key' },
      body: { required: true, types: { 'application/json': rotateBody } },
      answers: { 201: { description: 'The new key', schema: madeView } },
      errors: ['not-found', 'conflict'],
    }),
    requireAll('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      const { overlapSeconds } = await parseBody(c, rotateBody);
      c.header('cache-control', 'no-store');
      return c.json(madeOf(await rotateKey(ctx, c.req.param('id'), overlapSeconds), ctx.now()), 201);
    },
  )
  .delete(
    `${path}/:id`,
    openApiRoute({
      summary: 'Revoke a key',
      example: { path: { id: '0123456789abcdef' } },
      description: 'It is refused everywhere within 10 seconds. It stays on record, and cannot be used again.',
      tag: 'Keys',
      parameters: { id: 'of the key' },
      answers: { 200: { description: 'The key as it is now', schema: keyView } },
      errors: ['not-found'],
    }),
    requireAll('admin'),
    async (c) => {
      const ctx = c.get('ctx');
      return c.json(viewOf(await revokeKey(ctx, c.req.param('id')), ctx.now()));
    },
  );

function viewOf(key: Key, now_ms: number): z.input<typeof keyView> {
  const { id, name, scopes, rowFilter, createdAt_ms, expiresAt_ms, revokedAt_ms, replacedBy } = key;
  const isOver = expiresAt_ms !== null && expiresAt_ms <= now_ms;
  return {
    id,
    name,
    scopes,
    rowFilter,
    replacedBy,
    state: revokedAt_ms !== null ? 'revoked' : isOver ? 'expired' : 'active',
    createdAt: new Date(createdAt_ms).toISOString(),
    expiresAt: expiresAt_ms === null ? null : new Date(expiresAt_ms).toISOString(),
    revokedAt: revokedAt_ms === null ? null : new Date(revokedAt_ms).toISOString(),
  };
}

function madeOf({ key, text }: MadeKey, now_ms: number): z.input<typeof madeView> {
  return { ...viewOf(key, now_ms), key: text };
}
