import { hash } from 'node:crypto';
import * as z from 'zod';
import { slug } from '../core/identifiers.ts';

export type Scope = 'ingest' | 'query' | 'sql' | 'admin';

const datasets = z
  .union([z.literal('*'), z.array(slug).min(1).max(1_000)])
  .meta({ description: 'dataset names, or `*` for all present and future datasets' });

/** Datasets by scope. */
export const scopesSchema = z
  .strictObject({
    ingest: datasets.optional(),
    query: datasets.optional(),
    sql: datasets.optional(),
    admin: datasets.optional(),
  })
  .refine((scopes) => Object.values(scopes).some((each) => each !== undefined), 'a key has at least one scope')
  .meta({ minProperties: 1 });

/** Restricts reads of a key to rows with this value in this column. */
export const rowFilterSchema = z.strictObject({
  column: z.string().min(1).max(255),
  value: z.union([z.string().max(1_000), z.number(), z.boolean()]),
});

export type RowFilter = z.output<typeof rowFilterSchema>;

export const keySchema = z.object({
  id: z.string(),
  name: z.string(),
  /** SHA-256 of the secret half, hexadecimal. */
  hash: z.string(),
  scopes: scopesSchema,
  rowFilter: rowFilterSchema.nullable(),
  revision: z.int().positive(),
  createdAt_ms: z.number(),
  expiresAt_ms: z.number().nullable(),
  revokedAt_ms: z.number().nullable(),
  replacedBy: z.string().nullable(),
});

/** A recorded key. */
export type Key = z.output<typeof keySchema>;

const keyPattern = /^ts_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;

/** Splits the text of a key into id and secret; undefined for any other text. */
export function splitKey(text: string): { id: string; secret: string } | undefined {
  const [, id, secret] = keyPattern.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

/** A new key: an id of 64 random bits and a secret of 256. */
export function generateKey(): { id: string; hash: string; text: string } {
  const id = Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString('hex');
  const secret = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64url');
  return { id, hash: hashSecret(secret), text: `ts_${id}_${secret}` };
}

export function hashSecret(secret: string): string {
  return hash('sha256', secret);
}

/** Constant-time comparison of texts of equal length. The length is public. */
export function isSame(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < b.length; i += 1) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}
