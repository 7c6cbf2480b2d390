import { createHash } from 'node:crypto';
import { type StagedBatch, stageBatch } from '../buffer/stage.ts';
import { createTable } from '../catalog/create-table.ts';
import { evolveSchema } from '../catalog/evolve-schema.ts';
import { findTable, forgetTable } from '../catalog/find-table.ts';
import { setUpLanes } from '../catalog/set-up-lanes.ts';
import type { Table } from '../catalog/table.ts';
import type { Context } from '../context.ts';
import { TimestoreError } from '../errors.ts';
import type { FlushTrigger } from '../flush/flush-lane.ts';
import { encodeToken } from '../query/token.ts';
import { type PreparedRows, prepareRows, type RowFormat } from '../schema/prepare.ts';
import type { TableSchema } from '../schema/types.ts';
import { encodeBatchId } from './batch-id.ts';

export type IngestRequest = {
  dataset: string;
  table: string;
  text: string;
  format: RowFormat;
  /** Undefined when the client sent none: the answer cannot be asked for again then. */
  idempotencyKey: string | undefined;
};

export type Accepted = {
  batchId: string;
  accepted: number;
  rejected: number;
  quarantined: number;
  errors: { index: number; field: string | null; reason: string }[];
  replayed: boolean;
  watermark: string;
};

export type IngestResult = {
  accepted: Accepted;
  table: Table;
  lane: number;
  /** Set when the lane has enough pending for a flush of its own. */
  flush: FlushTrigger | undefined;
};

/** Each round answers a change somebody else made; that many in a row mean that something is wrong. */
const roundsMax = 20;

const emptySchema: TableSchema = {
  version: 0,
  timestampColumn: 'timestamp',
  keyFields: [],
  fields: [{ name: 'timestamp', type: 'timestamp' }],
};

/**
 * Accepts the rows of a request: checks them all, brings the schema to them, and puts them into the hot buffer as one
 * batch. All or nothing.
 *
 * @throws TimestoreError with what is wrong with the rows; StoreError when a store that this needs is away
 */
export async function ingestRows(ctx: Context, request: IngestRequest): Promise<IngestResult> {
  const { dataset, table: name, text } = request;
  requireOneChunk(ctx, text);
  const idempotencyKey = request.idempotencyKey ?? `auto:${crypto.randomUUID()}`;
  const requestHash = createHash('sha256').update(request.format).update('\n').update(text).digest('hex');
  for (let round = 0; round < roundsMax; round += 1) {
    const table = await findTable(ctx, dataset, name);
    const rows = prepareRows(
      text,
      request.format,
      table?.schema ?? emptySchema,
      table?.window ?? 'day',
      ctx.config.limits,
    );
    if (rows.errorsTotal > 0) throw refusal(rows);
    if (rows.rows === 0) throw new TimestoreError('malformed-body', 'The body holds no rows; send one or more.');
    if (table === undefined) {
      const schema = { ...emptySchema, version: 1, fields: [...emptySchema.fields, ...rows.added] };
      await createTable(ctx, { dataset, name, window: 'day', lanes: 1, schema });
      continue;
    }
    if (rows.added.length > 0) {
      await evolveSchema(ctx, table, rows.added);
      continue;
    }
    const lane = laneOf(idempotencyKey, table.lanes);
    const staged = await stageBatch(ctx, table, { lane, idempotencyKey, requestHash, rows });
    switch (staged.outcome) {
      case 'staged':
        return { accepted: accepted(table, lane, staged.batch, false), table, lane, flush: flushFor(ctx, staged) };
      case 'replayed':
        return { accepted: accepted(table, lane, staged.batch, true), table, lane, flush: undefined };
      case 'unknown':
        // New, or lost: either way the lane is made from the catalogue and ClickHouse, by whoever comes first.
        forgetTable(ctx, table);
        await setUpLanes(ctx, (await findTable(ctx, dataset, name)) ?? table);
        continue;
      case 'reused':
        throw new TimestoreError(
          'key-reused',
          'This Idempotency-Key was used for another payload. Send a new key with new rows.',
        );
      case 'frozen':
        throw new TimestoreError(
          'dataset-frozen',
          `Writes to table ${name} of dataset ${dataset} are stopped for a cutover.`,
          {
            retryAfterMs: 5_000,
          },
        );
      case 'full':
        throw bufferFull(ctx, name, rows, staged);
    }
  }
  throw new TimestoreError('conflict', `Table ${name} of dataset ${dataset} kept changing. Try again.`, {
    retryAfterMs: 500,
  });
}

function requireOneChunk(ctx: Context, text: string): void {
  const { chunk_bytes_max } = ctx.config.limits;
  // A UTF-16 unit is at most 3 bytes of UTF-8.
  if (text.length * 3 <= chunk_bytes_max || Buffer.byteLength(text) <= chunk_bytes_max) return;
  throw new TimestoreError(
    'limit-exceeded',
    `The rows of one request have at most ${chunk_bytes_max} bytes (limit chunk_bytes_max); send them in several.`,
  );
}

/** The lane is a function of the key, so that a repeated request comes to the lane that remembers it. */
function laneOf(key: string, lanes: number): number {
  return createHash('sha256').update(key).digest().readUInt32BE(0) % lanes;
}

function flushFor(
  ctx: Context,
  { batch, pending }: { batch: StagedBatch; pending: { rows: number; bytes: number; oldest_ms: number } },
): FlushTrigger | undefined {
  const { trigger_rows, trigger_bytes, trigger_age_ms } = ctx.config.limits;
  if (pending.rows >= trigger_rows || pending.bytes >= trigger_bytes) return 'size';
  return batch.receivedAt_ms - pending.oldest_ms >= trigger_age_ms ? 'age' : undefined;
}

function accepted(table: Table, lane: number, batch: StagedBatch, replayed: boolean): Accepted {
  return {
    batchId: encodeBatchId(table, lane, batch),
    accepted: batch.rows,
    rejected: 0,
    quarantined: 0,
    errors: [],
    replayed,
    watermark: encodeToken({
      dataset: table.dataset,
      table: table.name,
      lanes: [[lane, batch.incarnation, batch.seq]],
    }),
  };
}

function refusal(rows: PreparedRows): TimestoreError {
  const total = rows.rows + rows.errorsTotal;
  return new TimestoreError(
    'rows-refused',
    `${rows.errorsTotal} of ${total} rows were refused, so none was stored. Mend the rows named in errors and send all again.`,
    { extra: { accepted: 0, rejected: total, quarantined: 0, errors: rows.errors, errorsTotal: rows.errorsTotal } },
  );
}

const retryLongest_ms = 60_000;

/** Told to wait for as long as the lane needs to drain what this request lacks room for, at the pace of its last flush. */
function bufferFull(
  ctx: Context,
  name: string,
  rows: PreparedRows,
  {
    pending,
    drainedRowsPerSecond,
  }: { pending: { rows: number; bytes: number }; drainedRowsPerSecond: number | undefined },
): TimestoreError {
  const { pending_rows_max, pending_bytes_max } = ctx.config.limits;
  const share = Math.min(1, Math.max(rows.rows / pending_rows_max, rows.payload.length / pending_bytes_max));
  const drain_ms =
    drainedRowsPerSecond === undefined
      ? retryLongest_ms
      : (1_000 * share * pending.rows) / Math.max(1, drainedRowsPerSecond);
  return new TimestoreError(
    'buffer-full',
    `The hot buffer of table ${name} holds ${pending.rows} rows that wait for ClickHouse (limits pending_rows_max and ` +
      'pending_bytes_max). Nothing of this request was stored; send it again later with the same Idempotency-Key.',
    { retryAfterMs: Math.min(retryLongest_ms, Math.max(1_000, Math.ceil(drain_ms))) },
  );
}
