import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ApiError } from '../../../src/core/errors.ts';
import { flush, newDataset, newInstance, query, send, tableOf } from '../support.ts';

const ctx = newInstance();

const name = fc.oneof(
  fc.constantFrom(
    'a',
    'b',
    'a.b',
    'a.c',
    'a.b.c',
    'n',
    'n.null',
    'tags',
    'tags.size0',
    'A',
    'select',
    'count()',
    '*',
    'a`b',
    "a'b",
    'a\\',
  ),
  fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme' }),
);

const value = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom('', '007', '\\N', 'NULL', 'true', '\u0000', '\u2028', '{"_row":0}'),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.array(fc.string({ maxLength: 4 }), { maxLength: 3 }),
  fc.jsonValue({ maxDepth: 2 }),
);

const sentFields = fc.dictionary(name, value, { maxKeys: 6 });

/** What a reader gets for what was sent: nothing for null and for empty lists, its text for what is json. */
function expected(fields: Record<string, unknown>, types: Map<string, string>): Record<string, unknown> {
  const entries = Object.entries(fields).filter(([key, sent]) => key !== 'timestamp' && sent !== null);
  return Object.fromEntries(
    entries
      .map(([key, sent]) => [key, types.get(key) === 'json' ? jsonOf(sent) : plain(sent)])
      .filter(([, sent]) => !(Array.isArray(sent) && sent.length === 0)),
  );
}

/** A string that holds JSON is that JSON. */
function jsonOf(sent: unknown): string {
  const json = JSON.stringify(sent);
  if (typeof sent !== 'string' || sent.trim() === 'null') return json;
  try {
    JSON.parse(sent);
    return sent.trim();
  } catch {
    return json;
  }
}

const plain = (sent: unknown): unknown => (Object.is(sent, -0) ? 0 : sent);

function answered(row: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(row).filter(([key, came]) => key !== 'timestamp' && came !== null);
  return Object.fromEntries(
    entries.filter(([, came]) => !(Array.isArray(came) && came.length === 0)).map(([key, came]) => [key, plain(came)]),
  );
}

test('whatever is sent is refused, or comes back the same before and after its flush, and no lane is stuck', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(sentFields, { minLength: 1, maxLength: 5 }), async (rows) => {
      const dataset = newDataset();
      const kept: Record<string, unknown>[] = [];
      for (const [n, fields] of rows.entries()) {
        // A second for each, so that their order is known.
        const timestamp = n * 1_000;
        try {
          await send(ctx, dataset, [{ ...fields, timestamp }]);
          kept.push(fields);
        } catch (error) {
          if (!(error instanceof ApiError && error.code === 'rows-refused')) throw error;
        }
      }
      if (kept.length === 0) return;
      const before = await query(ctx, dataset);
      expect(await flush(newInstance(), dataset)).toMatchObject({ complete: true });
      const after = await query(ctx, dataset);
      expect(after.rows).toEqual(before.rows);
      expect(after.mode).toBe('replica-only');
      const types = new Map((await tableOf(ctx, dataset)).schema.fields.map((field) => [field.name, field.type]));
      expect(after.rows.map(answered)).toEqual(kept.map((fields) => expected(fields, types)));
    }),
    { numRuns: Number(process.env.ROUND_TRIP_RUNS ?? 20) },
  );
});
