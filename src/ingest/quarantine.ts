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
import { ApiError, StoreError } from '../core/errors.ts';
import { physicalName } from '../core/identifiers.ts';
import { type PreparedRows, prepareRows } from '../schema/prepare.ts';
import type { Table } from '../schema/table.ts';
import type { IngestDeps } from './deps.ts';
import { throwStageOutcome } from './resolve-stage-outcome.ts';
import { stageChunks } from './stage-chunks.ts';

const roundsMax = 20;

export type Quarantined = {
  table: Table;
  batch: StagedBatch;
  replayed: boolean;
  pending: Pending | undefined;
};

type Keyed = { idempotencyKey: string; requestHash: string; durable?: boolean; life_ms?: number; isOwn?: boolean };
type Request = Keyed & { dataset: string; name: string; table: Table | undefined };

/**
 * Puts the rows of a request that were refused into quarantine, once for each key of a request.
 *
 * @throws StoreError when a store that this needs is away: Postgres for the first of a dataset, S3 for a large row
 */
export async function quarantineRefused(
  ctx: IngestDeps,
  { dataset, name, table, idempotencyKey, ...keyed }: Request,
  { refused }: PreparedRows,
): Promise<Quarantined> {
  // Of the table as it is, or as it will be made: a table of the name before or after it has none of these rows.
  const physical = table?.physical ?? physicalName(name, (await readLives(ctx, dataset, name)).table);
  const records = refused.map(({ index, field, reason, detail, source, csv }): QuarantineRecord => {
    // With the request's hash: once a key is forgotten, a client may use it for other rows.
    const id = digest(`${dataset}/${physical}/${idempotencyKey}/${keyed.requestHash}/${index}`);
    const said = { reason, detail, field, index, payload: source, ...(csv !== undefined && { meta: csvMeta(csv) }) };
    return { id, event: 'quarantined', table: name, physical, origin: 'request', ...said };
  });
  const idempotencyOfRecords = `quarantine:${physical}:${idempotencyKey}`;
  return await recordInQuarantine(ctx, dataset, records, {
    ...keyed,
    idempotencyKey: idempotencyOfRecords,
  });
}

/**
 * Writes into a dataset's quarantine, through its hot buffer like any rows: they are in every answer at once.
 *
 * @param request a key of our own making, and the hash of what it stands for
 */
export async function recordInQuarantine(
  ctx: IngestDeps,
  dataset: string,
  records: QuarantineRecord[],
  { durable = false, ...request }: Keyed,
): Promise<Quarantined> {
  const timestamp = new Date(ctx.now()).toISOString();
  const kept: QuarantineRecord[] = [];
  for (const record of records) kept.push(await withoutLargePayload(ctx, dataset, record));
  const text = kept.map((record) => JSON.stringify({ timestamp, ...record })).join('\n');
  const prepare = () => {
    return prepareRows(text, 'ndjson', quarantineSchema, {
      ...ctx.config.limits,
      row_bytes_max: Number.MAX_SAFE_INTEGER,
      request_rows_max: Number.MAX_SAFE_INTEGER,
    });
  };
  for (let round = 0; round < roundsMax; round += 1) {
    const table =
      (await findTable(ctx, dataset, quarantineTable)) ??
      (await createTable(ctx, { dataset, name: quarantineTable, window: 'month', lanes: 1, schema: quarantineSchema }));
    const staged = await stageChunks(ctx, table, prepare(), {
      ...request,
      meta: '',
      durable,
      prepareAgain: prepare,
    });
    if (staged.outcome !== 'accepted') {
      await throwStageOutcome(ctx, table, staged);
      continue;
    }
    const [batch] = staged.batches;
    if (batch === undefined) throw new RangeError('rows that were accepted have a batch');
    return { table, batch, replayed: staged.replayed, pending: staged.pending };
  }
  throw new ApiError('conflict', `The quarantine of dataset ${dataset} kept changing. Try again.`, {
    retryAfterMs: 500,
  });
}

/** Where large payloads of a table are, in one life of it. */
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
    // An acknowledged row holds its lane up until it is somewhere else: the hot buffer can take it as it did before.
    if (record.origin === 'flush' && error instanceof StoreError) return { ...record, bytes };
    throw error;
  }
  const { payload: _, meta, ...rest } = record;
  return { ...rest, ...(meta !== undefined && csv === undefined && { meta }), object, bytes };
}

/** Names a row, or a list of them, by what makes it that one. */
export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
