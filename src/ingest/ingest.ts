import { hash } from 'node:crypto';
import type { FlushTrigger } from '../buffer/flush-trigger.ts';
import { findKeyedBatch, newBatchId, shortHash } from '../buffer/idempotency-lookup.ts';
import type { QuotaLeft } from '../buffer/quota.ts';
import type { Replay } from '../buffer/replays.ts';
import { type Pending, retryMargin, type StagedBatch } from '../buffer/stage.ts';
import { encodeToken, type LaneMark } from '../buffer/watermark-token.ts';
import { createTable } from '../catalog/create-table.ts';
import { evolveSchema } from '../catalog/evolve-schema.ts';
import { findTable } from '../catalog/find-table.ts';
import { hasLifeEnded, LifeEndedError, withNewestLife } from '../catalog/life.ts';
import { assertDefined } from '../core/assert.ts';
import { ApiError } from '../core/errors.ts';
import { type DeclaredSchema, mergeSchema } from '../schema/declared.ts';
import { type PreparedRows, prepareRows, type RowChecks, type RowFormat } from '../schema/prepare.ts';
import type { Rename } from '../schema/rename.ts';
import { retainedFrom_ms, type Table } from '../schema/table.ts';
import { notWritable } from '../schema/table-state.ts';
import type { Time } from '../schema/timestamp.ts';
import { encodeBatchId } from './batch-id.ts';
import type { IngestDeps } from './deps.ts';
import { quarantineRefused } from './quarantine.ts';
import { resolveStageOutcome } from './resolve-stage-outcome.ts';
import { stageChunks } from './stage-chunks.ts';

export type IngestRequest = {
  dataset: string;
  table: string;
  /** Title of the dataset, if this request creates it. */
  datasetTitle?: string | undefined;
  text: string;
  format: RowFormat;
  /** The whole body, to recognise a retry. Default: `text`. */
  source?: string;
  /** Undefined if the client sent none: the client cannot retry this request safely. */
  idempotencyKey: string | undefined;
  declared?: DeclaredSchema | undefined;
  /** Metadata of all rows, as JSON. */
  meta?: string;
  timeRange?: { start: Time; end: Time } | undefined;
  /** Fields of the rows with another name in the table. */
  rename?: Rename | undefined;
  /** Invalid rows: reject the whole request, or quarantine them and accept the others. */
  onError?: 'reject' | 'quarantine';
  /** Wait until the configured replicas of the hot buffer have the rows. */
  durable?: boolean;
  /** Set for a quarantined row that is sent again. */
  replay?: Replay;
};

export type Accepted = {
  batchId: string;
  accepted: number;
  rejected: number;
  quarantined: number;
  errors: { index: number; field: string | null; reason: string }[];
  replayed: boolean;
  /** Number of chunks of a split request. A query sees each chunk completely or not at all. */
  chunks?: number;
  watermark: string;
};

export type IngestResult = {
  accepted: Accepted;
  table: Table;
  lane: number;
  /** Batches of the accepted rows. */
  batches: StagedBatch[];
  /** Set if the lane has enough pending rows for a flush. */
  flush: FlushTrigger | undefined;
  /** The rest of the dataset's quota, if it has one. */
  quota: QuotaLeft | undefined;
};

/** Each further round follows a concurrent change of the table. */
const rounds_max = 20;

/**
 * Checks the rows of a request, evolves the schema, and stages the rows in the hot buffer. Either all rows are accepted or
 * none, except rows that go into quarantine. A split request is acknowledged after its last chunk.
 *
 * @throws ApiError with the invalid rows; StoreError if a required store is unavailable
 */
export async function ingestRows(ctx: IngestDeps, request: IngestRequest): Promise<IngestResult> {
  return await withNewestLife(ctx, (found) => accept(ctx, request, found));
}

async function accept(ctx: IngestDeps, request: IngestRequest, found: Table[]): Promise<IngestResult> {
  const { dataset, table: name, declared, onError = 'reject', meta = '', durable = false } = request;
  const { limits } = ctx.config;
  const isAuto = request.idempotencyKey === undefined;
  const idempotencyKey = request.idempotencyKey ?? `auto:${newBatchId()}`;
  // A generated key belongs to this request only, so that it needs no hash.
  const requestHash = isAuto ? '' : hashRequest(request);
  const life_ms = isAuto ? limits.idempotency_auto_ms : limits.idempotency_ms;
  const keyed = { idempotencyKey, requestHash, durable, life_ms };
  // The keys of chunks from an earlier round must not expire in a later one. A replay has no key that expires.
  const end_ms = request.replay === undefined ? ctx.now() + life_ms - retryMargin(life_ms).request_ms : Infinity;
  // Looked up once. Each further round continues with the definition that the step of the round before returned.
  let table = await findTable(ctx, dataset, name);
  for (let round = 0; round < rounds_max && (round === 0 || ctx.now() < end_ms); round += 1) {
    if (table !== undefined) found.push(table);
    const target = mergeSchema(table?.schema, declared, limits);
    const prepare = (checks: RowChecks) => {
      return prepareRows(request.text, request.format, target.schema, limits, {
        ...checks,
        rename: request.rename,
        keepRefused: onError === 'quarantine' ? limits.quarantine_rows_max : 0,
        setsAside: onError === 'quarantine' && request.format !== 'json',
      });
    };
    const prepareAgain = (quarantined: number[]) => prepare({ refuse: new Set(quarantined) });
    let rows = prepare({ retainedFrom_ms: retainedFrom_ms(table, ctx.now()), timeRange: request.timeRange });
    if (rows.errorsTotal > 0 && !isAuto && table !== undefined) {
      // A retry of an accepted request is accepted, even if its rows are too old by now.
      const known = await findKeyedBatch(ctx, table, idempotencyKey);
      if (known?.requestHash === shortHash(requestHash)) rows = prepareAgain(known.plan.quarantined);
    }
    requireAcceptable(rows, onError, limits.quarantine_rows_max);
    // A row that only an ended life would reject must not go into quarantine.
    if (rows.errorsTotal > 0 && table !== undefined && (await hasLifeEnded(ctx, table)))
      throw new LifeEndedError(table);
    if (rows.lines.length === 0) {
      const staged = await quarantineRefused(ctx, { dataset, name, table, ...keyed }, rows);
      return buildResult(ctx, staged.table, { ...staged, batches: [staged.batch], ofRows: [], quota: undefined }, rows);
    }
    const added = [...target.added, ...rows.added];
    if (table === undefined) {
      const schema = { ...target.schema, fields: [...target.schema.fields, ...rows.added] };
      table = await createTable(ctx, {
        dataset,
        datasetTitle: request.datasetTitle,
        name,
        window: 'day',
        lanes: limits.lanes_default,
        schema,
      });
      continue;
    }
    if (added.length > 0) {
      table = await evolveSchema(ctx, table, added);
      if (table !== undefined && table.state !== 'active') throw notWritable(dataset, name, table.state);
      continue;
    }
    const staged = await stageChunks(ctx, table, rows, { ...keyed, meta, replay: request.replay, prepareAgain });
    if (staged.outcome !== 'accepted') {
      table = await resolveStageOutcome(ctx, table, staged);
      continue;
    }
    const { quarantined } = staged.batches[0]?.plan ?? { quarantined: [] };
    const aside = quarantined.length === rows.refused.length ? rows : prepareAgain(quarantined);
    if (quarantined.length > 0) {
      await quarantineRefused(ctx, { dataset, name, table, ...keyed }, aside);
    }
    return buildResult(ctx, table, { ...staged, ofRows: staged.batches }, aside);
  }
  throw new ApiError('conflict', `Table ${name} of dataset ${dataset} kept changing. Try again.`, {
    retryAfterMs: 500,
  });
}

function hashRequest({ source, text, format, rename, onError = 'reject' }: IngestRequest): string {
  const how = onError === 'reject' ? format : `${format} ${onError}`;
  const names = rename === undefined ? '' : ` ${JSON.stringify([...rename])}`;
  return hash('sha256', `${how}${names}\n${source ?? text}`);
}

/** Throws if all rows must be rejected. */
function requireAcceptable(rows: PreparedRows, onError: 'reject' | 'quarantine', quarantined_max: number): void {
  const total = rows.lines.length + rows.errorsTotal;
  if (total === 0) throw new ApiError('malformed-body', 'The body has no rows. Send at least one.');
  if (rows.errorsTotal === 0 || rows.errorsTotal === rows.refused.length) return;
  const extra = {
    accepted: 0,
    rejected: total,
    quarantined: 0,
    errors: rows.errors,
    errorsTotal: rows.errorsTotal,
  };
  if (onError === 'quarantine') {
    throw new ApiError(
      'limit-exceeded',
      `${rows.errorsTotal} of ${total} rows are invalid, and at most ${quarantined_max} rows of a request go into quarantine ` +
        '(limit quarantine_rows_max). Nothing was stored.',
      { extra },
    );
  }
  const conflicts = rows.errors.some(({ oldType }) => oldType !== undefined)
    ? ' The type of a field never changes: send the value in the type of the field (oldType), under a new field name, or to ' +
      'a new table.'
    : '';
  throw new ApiError(
    'rows-refused',
    `${rows.errorsTotal} of ${total} rows are invalid, so nothing was stored. Correct the rows in errors and send all rows ` +
      `again, or send them with onError=quarantine.${conflicts}`,
    { extra },
  );
}

function chooseFlush(ctx: IngestDeps, pending: Pending | undefined): FlushTrigger | undefined {
  if (pending === undefined || pending.isFlushed) return undefined;
  const { trigger_rows, trigger_bytes, trigger_age_ms } = ctx.config.limits;
  if (pending.rows >= trigger_rows || pending.bytes >= trigger_bytes) return 'size';
  return pending.age_ms >= trigger_age_ms ? 'age' : undefined;
}

type Staged = {
  batches: StagedBatch[];
  /** The batches with accepted rows. */
  ofRows: StagedBatch[];
  replayed: boolean;
  pending: Pending | undefined;
  quota: QuotaLeft | undefined;
};

function buildResult(ctx: IngestDeps, table: Table, staged: Staged, { errors, refused }: PreparedRows): IngestResult {
  const { batches, ofRows, replayed, pending, quota } = staged;
  const first = assertDefined(batches[0], 'an accepted request has a batch');
  // The newest position of each lane: a change of the number of lanes can spread the chunks of a request over several.
  const newest = new Map<number, LaneMark>();
  for (const { lane, incarnation, seq, receivedAt_ms } of batches) {
    newest.set(lane, [lane, incarnation, seq, receivedAt_ms]);
  }
  const accepted = {
    batchId: encodeBatchId(table, first.lane, first),
    accepted: ofRows.reduce((sum, { rows }) => sum + rows, 0),
    rejected: 0,
    quarantined: refused.length,
    errors,
    replayed,
    ...(ofRows.length > 1 && { chunks: ofRows.length }),
    watermark: encodeToken({
      dataset: table.dataset,
      table: table.name,
      lanes: [...newest.values()],
    }),
  };
  return { accepted, table, lane: first.lane, batches: ofRows, flush: chooseFlush(ctx, pending), quota };
}
