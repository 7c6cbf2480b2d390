import { createHash } from 'node:crypto';
import type { Pending, StagedBatch } from '../buffer/stage.ts';
import { createTable } from '../catalog/create-table.ts';
import { findTable } from '../catalog/find-table.ts';
import { readLives } from '../catalog/life.ts';
import {
  csvMeta,
  csvOf,
  type QuarantineRecord,
  quarantineSchema,
  quarantineTable,
} from '../catalog/quarantine-table.ts';
import { assertDefined } from '../core/assert.ts';
import { ApiError, StoreError } from '../core/errors.ts';
import { physicalName } from '../core/identifiers.ts';
import { type PreparedRows, prepareRows } from '../schema/prepare.ts';
import type { Table } from '../schema/table.ts';
import type { IngestDeps } from './deps.ts';
import { resolveStageOutcome } from './resolve-stage-outcome.ts';
import { stageChunks } from './stage-chunks.ts';

const rounds_max = 20;

export type Quarantined = {
  table: Table;
  batch: StagedBatch;
  replayed: boolean;
  pending: Pending | undefined;
};

type Keyed = { idempotencyKey: string; requestHash: string; durable?: boolean; life_ms?: number; isOwn?: boolean };
type Request = Keyed & { dataset: string; name: string; table: Table | undefined };

/**
 * Puts the invalid rows of a request into quarantine, once per idempotency key.
 *
 * @throws StoreError if a required store is unavailable: Postgres for the first row of a dataset, S3 for a large row
 */
export async function quarantineRefused(
  ctx: IngestDeps,
  { dataset, name, table, idempotencyKey, ...keyed }: Request,
  { refused }: PreparedRows,
): Promise<Quarantined> {
  // The existing table or the one to be created, because earlier and later lives of the name do not own these rows.
  const physical = table?.physical ?? physicalName(name, (await readLives(ctx, dataset, name)).table);
  const records = refused.map(({ index, field, reason, detail, source, csv }): QuarantineRecord => {
    // With the request's hash, because a client may use an expired key for other rows.
    const id = digest(`${dataset}/${physical}/${idempotencyKey}/${keyed.requestHash}/${index}`);
    const row = { reason, detail, field, index, payload: source, ...(csv !== undefined && { meta: csvMeta(csv) }) };
    return { id, event: 'quarantined', table: name, physical, origin: 'request', ...row };
  });
  const recordsKey = `quarantine:${physical}:${idempotencyKey}`;
  return await recordInQuarantine(ctx, dataset, records, {
    ...keyed,
    idempotencyKey: recordsKey,
  });
}

/**
 * Writes records into a dataset's quarantine table through the hot buffer, so that every query sees them at once.
 *
 * @param request an internal idempotency key, and the hash of its records
 */
export async function recordInQuarantine(
  ctx: IngestDeps,
  dataset: string,
  records: QuarantineRecord[],
  { durable = false, ...request }: Keyed,
): Promise<Quarantined> {
  const timestamp = new Date(ctx.now()).toISOString();
  const inlined: QuarantineRecord[] = [];
  for (const record of records) inlined.push(await withoutLargePayload(ctx, dataset, record));
  const text = inlined.map((record) => JSON.stringify({ timestamp, ...record })).join('\n');
  const prepare = () => {
    return prepareRows(text, 'ndjson', quarantineSchema, {
      ...ctx.config.limits,
      row_bytes_max: Number.MAX_SAFE_INTEGER,
      request_rows_max: Number.MAX_SAFE_INTEGER,
    });
  };
  const create = () =>
    createTable(ctx, { dataset, name: quarantineTable, window: 'month', lanes: 1, schema: quarantineSchema });
  // No caller has this table: it is another one than the table of the rejected rows.
  let table = (await findTable(ctx, dataset, quarantineTable)) ?? (await create());
  for (let round = 0; round < rounds_max; round += 1) {
    const staged = await stageChunks(ctx, table, prepare(), {
      ...request,
      meta: '',
      durable,
      prepareAgain: prepare,
    });
    if (staged.outcome !== 'accepted') {
      table = (await resolveStageOutcome(ctx, table, staged)) ?? (await create());
      continue;
    }
    const batch = assertDefined(staged.batches[0], 'accepted rows have a batch');
    return { table, batch, replayed: staged.replayed, pending: staged.pending };
  }
  throw new ApiError('conflict', `The quarantine of dataset ${dataset} kept changing. Try again.`, {
    retryAfterMs: 500,
  });
}

/** The folder of large payloads of one life of a table. */
export function payloadFolder(dataset: string, physical: string): string {
  return `quarantine/${dataset}/${physical}/`;
}

async function withoutLargePayload(
  ctx: IngestDeps,
  dataset: string,
  record: QuarantineRecord,
): Promise<QuarantineRecord> {
  const { payload, id, table, physical = table } = record;
  if (payload === undefined) return record;
  const bytes = Buffer.byteLength(payload);
  if (bytes <= ctx.config.limits.quarantine_inline_bytes_max) return { ...record, bytes };
  const csv = csvOf(record);
  const object = `${payloadFolder(dataset, physical)}${id}.${csv === undefined ? 'json' : 'csv'}`;
  try {
    await ctx.objects.put(object, csv ?? payload);
  } catch (error) {
    // Without S3 the record stays in the hot buffer, which held the row before: otherwise the row would block its lane.
    if (record.origin === 'flush' && error instanceof StoreError) return { ...record, bytes };
    throw error;
  }
  const { payload: _, meta, ...rest } = record;
  return { ...rest, ...(meta !== undefined && csv === undefined && { meta }), object, bytes };
}

/** A stable id of rows, from the text that identifies them. */
export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
