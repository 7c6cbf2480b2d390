import { createHash } from 'node:crypto';
import type { Pending, StagedBatch } from '../buffer/stage.ts';
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
import { stageChunks } from './stage-chunks.ts';

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
  /** Set when the request was cut; a query sees each chunk whole or not at all. */
  chunks?: number;
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
 * Accepts the rows of a request: checks them all, brings the schema to them, and puts them into the hot buffer. All
 * or nothing; a request cut in chunks is acknowledged when its last one is.
 *
 * @throws TimestoreError with what is wrong with the rows; StoreError when a store that this needs is away
 */
export async function ingestRows(ctx: Context, request: IngestRequest): Promise<IngestResult> {
  const { dataset, table: name, text } = request;
  const idempotencyKey = request.idempotencyKey ?? `auto:${crypto.randomUUID()}`;
  const requestHash = createHash('sha256').update(request.format).update('\n').update(text).digest('hex');
  for (let round = 0; round < roundsMax; round += 1) {
    const table = await findTable(ctx, dataset, name);
    const rows = prepareRows(text, request.format, table?.schema ?? emptySchema, ctx.config.limits);
    if (rows.errorsTotal > 0) throw refusal(rows);
    if (rows.lines.length === 0)
      throw new TimestoreError('malformed-body', 'The body holds no rows; send one or more.');
    if (table === undefined) {
      const schema = { ...emptySchema, version: 1, fields: [...emptySchema.fields, ...rows.added] };
      await createTable(ctx, { dataset, name, window: 'day', lanes: 1, schema });
      continue;
    }
    if (rows.added.length > 0) {
      await evolveSchema(ctx, table, rows.added);
      continue;
    }
    const staged = await stageChunks(ctx, table, rows, { idempotencyKey, requestHash });
    switch (staged.outcome) {
      case 'accepted': {
        const { lane, batches, replayed, pending } = staged;
        return { accepted: accepted(table, lane, batches, replayed), table, lane, flush: flushFor(ctx, pending) };
      }
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

function flushFor(ctx: Context, pending: Pending | undefined): FlushTrigger | undefined {
  if (pending === undefined) return undefined;
  const { trigger_rows, trigger_bytes, trigger_age_ms } = ctx.config.limits;
  if (pending.rows >= trigger_rows || pending.bytes >= trigger_bytes) return 'size';
  return pending.age_ms >= trigger_age_ms ? 'age' : undefined;
}

function accepted(table: Table, lane: number, batches: StagedBatch[], replayed: boolean): Accepted {
  const [first, last] = [batches[0], batches.at(-1)];
  if (first === undefined || last === undefined) throw new RangeError('a request that was accepted has a batch');
  return {
    batchId: encodeBatchId(table, lane, first),
    accepted: batches.reduce((sum, { rows }) => sum + rows, 0),
    rejected: 0,
    quarantined: 0,
    errors: [],
    replayed,
    ...(batches.length > 1 && { chunks: batches.length }),
    watermark: encodeToken({
      dataset: table.dataset,
      table: table.name,
      lanes: [[lane, last.incarnation, last.seq]],
    }),
  };
}

function refusal(rows: PreparedRows): TimestoreError {
  const total = rows.lines.length + rows.errorsTotal;
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
  const bytes = rows.lines.reduce((sum, line) => sum + line.length, 0);
  const share = Math.min(1, Math.max(rows.lines.length / pending_rows_max, bytes / pending_bytes_max));
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
