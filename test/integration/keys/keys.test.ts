import { expect } from 'vitest';
import { StoreError } from '../../../src/core/errors.ts';
import { authenticate } from '../../../src/keys/find-key.ts';
import { createKey, listKeys, type NewKey, revokeKey, rotateKey } from '../../../src/keys/manage-keys.ts';
import type { Postgres } from '../../../src/stores/postgres/client.ts';
import { test } from '../fixtures.ts';
import { newInstance } from '../support.ts';

const ctx = newInstance();
const down = 'http://127.0.0.1:9'; // without a listener
const gone = () => Promise.reject(new StoreError('postgres', 'did not answer', undefined));
/** A catalogue that does not answer. */
const away: Postgres = { rows: gone, transaction: gone };
const key = (more: Partial<NewKey> = {}): NewKey => {
  return { name: 'of a test', scopes: { ingest: '*' }, rowFilter: null, expiresAt_ms: null, ...more };
};

test('a key is known by its text on any instance, and by no other text', async () => {
  const { key: made, text } = await createKey(ctx, key({ scopes: { ingest: ['a'], query: '*' } }));
  expect(await authenticate(newInstance(), text)).toEqual(made);
  const other = (await createKey(ctx, key())).text;
  const [, , secret] = other.split('_');
  for (const wrong of ['', 'x', text.slice(0, -1), `${text}x`, `ts_${made.id}_${secret}`, text.replace('ts_', 'tS_')]) {
    expect(await authenticate(newInstance(), wrong), wrong).toBeUndefined();
  }
  // Also where the right text has just been seen.
  const instance = newInstance();
  await authenticate(instance, text);
  expect(await authenticate(instance, `ts_${made.id}_${secret}`)).toBeUndefined();
  expect(await authenticate(instance, text)).toEqual(made);
});

test('the secret half is nowhere in the stores', async () => {
  const { key: made, text } = await createKey(ctx, key());
  await authenticate(newInstance(), text);
  // It may have the same character in it that is before it.
  const secret = text.split('_').slice(2).join('_');
  const [row] = await ctx.postgres.rows<object>('select * from api_keys where id = $1', [made.id]);
  expect(JSON.stringify(row)).not.toContain(secret);
  const buffered = await ctx.redis.hget<string>(ctx.keys.apiKeys, made.id);
  expect(buffered).toContain(made.hash);
  expect(buffered).not.toContain(secret);
});

test('a revoked key ends within seconds on an instance that has just used it, and at once on any other', async ({
  clock,
  instance: using,
}) => {
  const { key: made, text } = await createKey(ctx, key());
  expect(await authenticate(using, text)).toBeDefined();
  await revokeKey(ctx, made.id);
  expect(await authenticate(ctx, text)).toBeUndefined();
  expect(await authenticate(newInstance(), text)).toBeUndefined();
  clock.pass(10_000);
  expect(await authenticate(using, text)).toBeUndefined();
  // Asked again, nothing changes.
  const { revokedAt_ms } = await revokeKey(ctx, made.id);
  expect((await revokeKey(ctx, made.id)).revokedAt_ms).toBe(revokedAt_ms);
  await expect(revokeKey(ctx, '0000000000000000')).rejects.toMatchObject({ code: 'not-found' });
});

test('a reader that looked before a revocation does not bring the key back', async () => {
  const { key: made, text } = await createKey(ctx, key());
  const slow = newInstance();
  const asked = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const { postgres } = slow;
  slow.postgres = {
    ...postgres,
    async rows(statement, params) {
      const rows = await postgres.rows(statement, params);
      asked.resolve();
      await goOn.promise;
      return rows as never;
    },
  };
  const late = authenticate(slow, text);
  await asked.promise;
  await revokeKey(ctx, made.id);
  goOn.resolve();
  await late;
  expect(await authenticate(newInstance(), text)).toBeUndefined();
});

test('a key ends when it expires, wherever it is remembered', async ({ clock, instance }) => {
  const { text } = await createKey(ctx, key({ expiresAt_ms: Date.now() + 60_000 }));
  expect(await authenticate(instance, text)).toBeDefined();
  clock.pass(60_001);
  expect(await authenticate(instance, text)).toBeUndefined();
});

test('known keys stay valid while the catalogue is unavailable; unknown keys fail', async () => {
  const { text } = await createKey(ctx, key());
  await authenticate(ctx, text);
  const without = { ...newInstance(), postgres: away };
  expect(await authenticate(without, text)).toBeDefined();
  const unseen = (await createKey(ctx, key())).text;
  await expect(authenticate(without, unseen)).rejects.toBeInstanceOf(StoreError);
});

test('without the hot buffer the catalogue decides, and without both the memory of the instance', async ({
  clock,
  instance,
}) => {
  const { text } = await createKey(ctx, key());
  const { redis } = newInstance({ UPSTASH_REDIS_REST_URL: down, TIMESTORE_REDIS_TIMEOUT_MS: '50' });
  expect(await authenticate({ ...newInstance(), redis }, text)).toBeDefined();
  await authenticate(instance, text);
  clock.pass(60_000);
  expect(await authenticate({ ...instance, redis, postgres: away }, text)).toBeDefined();
  await expect(authenticate({ ...newInstance(), redis, postgres: away }, text)).rejects.toBeInstanceOf(StoreError);
});

test('a rotated key and its successor are both good for the overlap, and may do the same', async ({
  clock,
  instance,
}) => {
  const before = key({ scopes: { sql: ['a'], admin: '*' }, rowFilter: { column: 'tenant', value: 7 } });
  const { key: made, text } = await createKey(ctx, before);
  await authenticate(instance, text);
  const rotated = await rotateKey(ctx, made.id, 60);
  expect(rotated.key).toMatchObject(before);
  expect(rotated.old).toMatchObject({ id: made.id, replacedBy: rotated.key.id });
  clock.pass(30_000);
  expect(await authenticate(instance, text)).toMatchObject({ ...before, expiresAt_ms: expect.any(Number) });
  expect(await authenticate(instance, rotated.text)).toMatchObject(before);
  // By the clock of the rotation, which may have come long after this test's.
  clock.setTo((rotated.old.expiresAt_ms ?? 0) + 1);
  expect(await authenticate(instance, text)).toBeUndefined();
  expect(await authenticate(instance, rotated.text)).toBeDefined();
});

test('a key is rotated once, however many ask at once, and never after its end', async () => {
  const { key: made } = await createKey(ctx, key());
  const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => rotateKey(newInstance(), made.id, 60)));
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'conflict' });
  }
  const made2 = (await createKey(ctx, key())).key;
  await revokeKey(ctx, made2.id);
  await expect(rotateKey(ctx, made2.id, 60)).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining('was revoked'),
  });
  await expect(rotateKey(ctx, '0000000000000000', 60)).rejects.toMatchObject({ code: 'not-found' });
});

test('no key is rotated while instances cannot be notified', async () => {
  const { key: made } = await createKey(ctx, key());
  const deaf = newInstance({ UPSTASH_REDIS_REST_URL: down, TIMESTORE_REDIS_TIMEOUT_MS: '50' });
  await expect(rotateKey(deaf, made.id, 60)).rejects.toBeInstanceOf(StoreError);
  expect((await rotateKey(ctx, made.id, 60)).old.replacedBy).not.toBeNull();
  // A revocation is still recorded, and reports that the hot buffer does not have it.
  await expect(revokeKey(deaf, made.id)).rejects.toMatchObject({ store: 'redis' });
  expect(
    (await ctx.postgres.rows('select 1 from api_keys where id = $1 and revoked_at is not null', [made.id])).length,
  ).toBe(1);
});

test('keys are listed by pages, the newest first, each once while others are made', async () => {
  const made: string[] = [];
  for (let n = 0; n < 5; n += 1) made.unshift((await createKey(ctx, key())).key.id);
  const listed: string[] = [];
  let after: number | undefined;
  do {
    const page = await listKeys(ctx, { after, limit: 2 });
    expect(page.keys.length).toBeLessThanOrEqual(2);
    listed.push(...page.keys.map(({ id }) => id));
    after = page.next;
    await createKey(ctx, key());
  } while (after !== undefined && listed.length < 500);
  expect(listed.filter((id) => made.includes(id))).toEqual(made);
  expect(new Set(listed).size).toBe(listed.length);
});
