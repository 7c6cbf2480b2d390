import { type StageOutcome, stageBatch } from '../../../src/buffer/stage.ts';
import type { Context } from '../../../src/create-context.ts';
import { cutBatches } from '../../../src/ingest/split-batches.ts';
import { prepareRows } from '../../../src/schema/prepare.ts';
import type { Table } from '../../../src/schema/table.ts';
import { redisKeys } from '../../../src/stores/redis/keys.ts';

/** Stages one batch: values of field `v`, all at the given day. */
export async function stage(
  ctx: Context,
  table: Table,
  values: number[],
  { key = crypto.randomUUID(), hash = `hash of ${values}`, lane = 0, day = 1, meta = '' } = {},
): Promise<StageOutcome> {
  const text = values.map((v) => `{"timestamp":"2026-05-0${day}T10:00:00Z","v":${v}}`).join('\n');
  const rows = prepareRows(text, 'ndjson', table.schema, ctx.config.limits);
  const plan = { rows: [values.length], quarantined: [] };
  const [batch] = cutBatches(rows, plan, table.window);
  if (batch === undefined) throw new Error('expected a batch');
  const place = { first: { rows: batch.rows, bytes: batch.payload.length } };
  return await stageBatch(ctx, table, {
    lane,
    idempotencyKey: key,
    requestHash: hash,
    batch,
    plan,
    place,
    meta,
    durable: false,
  });
}

/** All that the hot buffer holds of a lane, to see that something changed nothing. */
export async function laneContent(ctx: Context, table: Table, lane = 0) {
  const keys = redisKeys(ctx.config.TIMESTORE_KEY_PREFIX);
  return {
    state: pairs((await ctx.redis.hgetall(keys.state(table, lane))) as unknown as string[]),
    log: await ctx.redis.xrange(keys.log(table, lane), '-', '+'),
    due: await ctx.redis.zscore(keys.due, `${table.dataset}/${table.physical}/${lane}`),
  };
}

/** A hash as Redis sends it: names and values in turn. */
function pairs(flat: string[]): Record<string, string> {
  return Object.fromEntries(flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1] ?? '']] : [])));
}
