import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { type Key, rowFilterSchema, scopesSchema } from '../../src/keys/key.ts';
import {
  type CreatedKey,
  createKey,
  findKeyRecord,
  listKeys,
  revokeKey,
  rotateKey,
} from '../../src/keys/manage-keys.ts';
import { nextSchema, numberedQuery, numberOf } from '../http/paging.ts';
import { idParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const createBody = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .max(200)
      .meta({ description: 'a name for people', examples: ['collector of site 7'] }),
    scopes: scopesSchema,
    rowFilter: rowFilterSchema.nullable().default(null).meta({
      description:
        'restricts the key to rows whose column has this value; null for all rows; not allowed with the scope `admin`',
    }),
    expiresAt: z.iso
      .datetime({ offset: true })
      .nullable()
      .default(null)
      .meta({ description: 'the time of expiry; null for never' }),
  })
  .refine(({ scopes, rowFilter }) => rowFilter === null || scopes.admin === undefined, {
    path: ['rowFilter'],
    message: 'not allowed with the scope admin, which reads all rows in exports and in the quarantine; create two keys',
  });

const overlap_s_max = 90 * 86_400;

const rotateBody = z.strictObject({
  overlapSeconds: z.int().min(0).max(overlap_s_max).default(86_400).meta({
    description: 'seconds for which the old key stays valid',
  }),
});

const keySchema = z
  .object({
    id: z.string(),
    name: z.string(),
    scopes: scopesSchema,
    rowFilter: rowFilterSchema.nullable(),
    state: z.enum(['active', 'expired', 'revoked']),
    createdAt: z.string(),
    expiresAt: z.string().nullable(),
    revokedAt: z.string().nullable(),
    replacedBy: z.string().nullable().meta({ description: 'the key that replaced this one in a rotation' }),
  })
  .meta({ id: 'Key' });

const newKeySchema = keySchema
  .extend({ key: z.string().meta({ description: 'the API key; only this response contains it' }) })
  .meta({ id: 'NewKey' });

const listSchema = z.object({
  keys: z.array(keySchema),
  next: nextSchema,
});

const path = '/v1/admin/keys';

export const keyRoutes = [
  route(
    {
      method: 'post',
      path,
      scope: 'admin',
      allDatasets: true,
      tag: 'Keys',
      summary: 'Create a key',
      description:
        'Only this response contains the key itself; Timestore stores a hash. A key has scopes, each for a list of datasets or for ' +
        'all datasets (`*`).',
      body: createBody,
      responses: { 201: { description: 'The key', schema: newKeySchema } },
      example: { body: { name: 'site 7', scopes: { ingest: ['demo'], query: ['demo'] } } },
    },
    async ({ c, ctx, body: { expiresAt, ...body }, json }) => {
      const expiresAt_ms = expiresAt === null ? null : Date.parse(expiresAt);
      if (expiresAt_ms !== null && expiresAt_ms <= ctx.now()) {
        throw new ApiError('invalid-request', 'expiresAt: must be later than now.');
      }
      c.header('cache-control', 'no-store');
      return json(201, renderNewKey(await createKey(ctx, { ...body, expiresAt_ms }), ctx.now()));
    },
  ),
  route(
    {
      method: 'get',
      path,
      scope: 'admin',
      allDatasets: true,
      tag: 'Keys',
      summary: 'List keys',
      description: 'Lists all keys, newest first, including expired and revoked keys.',
      query: z.strictObject(numberedQuery),
      responses: { 200: { description: 'A page of keys', schema: listSchema } },
      example: { query: { limit: '10' } },
    },
    async ({ ctx, query: { cursor, limit }, json }) => {
      const { keys, next } = await listKeys(ctx, { after: numberOf(cursor), limit: limit ?? 100 });
      const views = keys.map((key) => renderKey(key, ctx.now()));
      return json(200, { keys: views, next: next === undefined ? null : String(next) });
    },
  ),
  route(
    {
      method: 'get',
      path: `${path}/:id`,
      scope: 'admin',
      allDatasets: true,
      tag: 'Keys',
      summary: 'Get a key',
      params: idParams('id of the key'),
      responses: { 200: { description: 'The key, without its secret', schema: keySchema } },
      example: { path: { id: '0123456789abcdef' } },
    },
    async ({ ctx, params, json }) => {
      return json(200, renderKey(await findKeyRecord(ctx, params.id), ctx.now()));
    },
  ),
  route(
    {
      method: 'post',
      path: `${path}/:id/rotate`,
      scope: 'admin',
      allDatasets: true,
      tag: 'Keys',
      summary: 'Rotate a key',
      description:
        'Creates a key with the same scopes. The old key expires after an overlap in which both keys are valid.',
      params: idParams('id of the key'),
      body: rotateBody,
      responses: { 201: { description: 'The new key', schema: newKeySchema } },
      errors: ['not-found', 'conflict'],
      example: { path: { id: '0123456789abcdef' }, body: { overlapSeconds: 3600 } },
    },
    async ({ c, ctx, params, body: { overlapSeconds }, json }) => {
      c.header('cache-control', 'no-store');
      return json(201, renderNewKey(await rotateKey(ctx, params.id, overlapSeconds), ctx.now()));
    },
  ),
  route(
    {
      method: 'delete',
      path: `${path}/:id`,
      scope: 'admin',
      allDatasets: true,
      tag: 'Keys',
      summary: 'Revoke a key',
      description:
        'All instances reject the key within 10 seconds. The record of the key is kept; the key cannot be used again.',
      params: idParams('id of the key'),
      responses: { 200: { description: 'The revoked key', schema: keySchema } },
      example: { path: { id: '0123456789abcdef' } },
    },
    async ({ ctx, params, json }) => {
      return json(200, renderKey(await revokeKey(ctx, params.id), ctx.now()));
    },
  ),
];

function renderKey(key: Key, now_ms: number): z.input<typeof keySchema> {
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

function renderNewKey({ key, text }: CreatedKey, now_ms: number): z.input<typeof newKeySchema> {
  return { ...renderKey(key, now_ms), key: text };
}
