import { hash } from 'node:crypto';
import type { FlushTrigger } from '../buffer/flush-trigger.ts';
import { findKeyedBatch, newBatchId, shortHash } from '../buffer/idempotency-lookup.ts';
import type { QuotaLeft } from '../buffer/quota.ts';
import type { Replay } from '../buffer/replays.ts';
import { marginOf, type Pending, type StagedBatch } from '../buffer/stage.ts';
import { encodeToken, type LaneMark } from '../buffer/watermark-token.ts';
import { createTable } from '../catalog/create-table.ts';
import { evolveSchema } from '../catalog/evolve-schema.ts';
import { findTable } from '../catalog/find-table.ts';
import { hasLifeEnded, LifeEndedError, withNewestLife } from '../catalog/life.ts';
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
import { throwStageOutcome } from './resolve-stage-outcome.ts';
import { stageChunks } from './stage-chunks.ts';

export type IngestRequest = {
  dataset: string;
  table: string;
  /** What people call the dataset, if this request makes it. */
  datasetTitle?: string | undefined;
  /** The rows. */
  text: string;
  format: RowFormat;
  /** What the request is recognised by when it comes again: all of it, as it came. The rows alone if left out. */
  source?: string;
  /** Undefined when the client sent none: the answer cannot be asked for again then. */
  idempotencyKey: string | undefined;
  declared?: DeclaredSchema | undefined;
  /** What is said of the rows as a whole, kept with them; canonical JSON. */
  meta?: string;
  timeRange?: { start: Time; end: Time } | undefined;
  /** Names in the rows that are others in the table. */
  rename?: Rename | undefined;
  /** Rows at fault: all of the request is refused, or they go into quarantine and the others are accepted. */
  onError?: 'reject' | 'quarantine';
  /** Whether the buffer's replicas must have the rows, where there are any. */
  durable?: boolean;
  /** Of a row in quarantine that is sent again. */
  replay?: Replay;
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
  /** Of the accepted rows. */
  batches: StagedBatch[];
  /** Set when the lane has enough pending for a flush of its own. */
  flush: FlushTrigger | undefined;
  /** What the dataset may take after this, where it has limits. */
  quota: QuotaLeft | undefined;
};

/** Each round answers a change somebody else made; that many in a row mean that something is wrong. */
const roundsMax = 20;

/**
 * Accepts the rows of a request: checks them all, brings the schema to them, and puts them into the hot buffer. All
 * or nothing, but for rows that go into quarantine; a request cut in chunks is acknowledged when its last one is.
 *
 * @throws TimestoreError with what is wrong with the rows; StoreError when a store that this needs is away
 */
export async function ingestRows(ctx: IngestDeps, request: IngestRequest): Promise<IngestResult> {
  return await withNewestLife(ctx, (found) => accept(ctx, request, found));
}

async function accept(ctx: IngestDeps, request: IngestRequest, found: Table[]): Promise<IngestResult> {
  const { dataset, table: name, declared, onError = 'reject', meta = '', durable = false } = request;
  const { limits } = ctx.config;
  const isAuto = request.idempotencyKey === undefined;
  const idempotencyKey = request.idempotencyKey ?? `auto:${newBatchId()}`;
  // A key made here is of this request alone, so that nothing else can come under it.
  const requestHash = isAuto ? '' : hashOf(request);
  const life_ms = isAuto ? limits.idempotency_auto_ms : limits.idempotency_ms;
  const keyed = { idempotencyKey, requestHash, durable, life_ms };
  // Chunks that an earlier round has staged must not be forgotten in this one. A row that is sent again is not.
  const end_ms = request.replay === undefined ? ctx.now() + life_ms - marginOf(life_ms).request_ms : Infinity;
  for (let round = 0; round < roundsMax && (round === 0 || ctx.now() < end_ms); round += 1) {
    const table = await findTable(ctx, dataset, name);
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
      // What was accepted once stays so, also when its rows are too old by now.
      const known = await findKeyedBatch(ctx, table, idempotencyKey);
      if (known?.requestHash === shortHash(requestHash)) rows = prepareAgain(known.plan.quarantined);
    }
    requireAcceptable(rows, onError, limits.quarantine_rows_max);
    // None goes into quarantine for what it would not have fitted in a life that is over.
    if (rows.errorsTotal > 0 && table !== undefined && (await hasLifeEnded(ctx, table)))
      throw new LifeEndedError(table);
    if (rows.lines.length === 0) {
      const staged = await quarantineRefused(ctx, { dataset, name, table, ...keyed }, rows);
      return resultOf(ctx, staged.table, { ...staged, batches: [staged.batch], ofRows: [], quota: undefined }, rows);
    }
    const added = [...target.added, ...rows.added];
    if (table === undefined) {
      const schema = { ...target.schema, fields: [...target.schema.fields, ...rows.added] };
      await createTable(ctx, {
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
      const newest = await evolveSchema(ctx, table, added);
      if (newest !== undefined && newest.state !== 'active') throw notWritable(dataset, name, newest.state);
      continue;
    }
    const staged = await stageChunks(ctx, table, rows, { ...keyed, meta, replay: request.replay, prepareAgain });
    if (staged.outcome !== 'accepted') {
      await throwStageOutcome(ctx, table, staged);
      continue;
    }
    const { quarantined } = staged.batches[0]?.plan ?? { quarantined: [] };
    const aside = quarantined.length === rows.refused.length ? rows : prepareAgain(quarantined);
    if (quarantined.length > 0) {
      await quarantineRefused(ctx, { dataset, name, table, ...keyed }, aside);
    }
    return resultOf(ctx, table, { ...staged, ofRows: staged.batches }, aside);
  }
  throw new ApiError('conflict', `Table ${name} of dataset ${dataset} kept changing. Try again.`, {
    retryAfterMs: 500,
  });
}

function hashOf({ source, text, format, rename, onError = 'reject' }: IngestRequest): string {
  const how = onError === 'reject' ? format : `${format} ${onError}`;
  const names = rename === undefined ? '' : ` ${JSON.stringify([...rename])}`;
  return hash('sha256', `${how}${names}\n${source ?? text}`);
}

/** Throws where nothing can be accepted of the rows. */
function requireAcceptable(rows: PreparedRows, onError: 'reject' | 'quarantine', quarantinedMax: number): void {
  const total = rows.lines.length + rows.errorsTotal;
  if (total === 0) throw new ApiError('malformed-body', 'The body holds no rows; send one or more.');
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
      `${rows.errorsTotal} of ${total} rows are at fault, and at most ${quarantinedMax} of a request go into quarantine ` +
        '(limit quarantine_rows_max). Nothing was stored.',
      { extra },
    );
  }
  const conflicts = rows.errors.some(({ oldType }) => oldType !== undefined)
    ? ' A type never changes: send a value of another type (newType) as the field’s own (oldType), under a new field name, ' +
      'or to a new table.'
    : '';
  throw new ApiError(
    'rows-refused',
    `${rows.errorsTotal} of ${total} rows were refused, so none was stored. Mend the rows named in errors and send all ` +
      `again, or send them with onError=quarantine.${conflicts}`,
    { extra },
  );
}

function flushFor(ctx: IngestDeps, pending: Pending | undefined): FlushTrigger | undefined {
  if (pending === undefined || pending.isFlushed) return undefined;
  const { trigger_rows, trigger_bytes, trigger_age_ms } = ctx.config.limits;
  if (pending.rows >= trigger_rows || pending.bytes >= trigger_bytes) return 'size';
  return pending.age_ms >= trigger_age_ms ? 'age' : undefined;
}

type Staged = {
  batches: StagedBatch[];
  /** Those of them that hold accepted rows. */
  ofRows: StagedBatch[];
  replayed: boolean;
  pending: Pending | undefined;
  quota: QuotaLeft | undefined;
};

function resultOf(ctx: IngestDeps, table: Table, staged: Staged, { errors, refused }: PreparedRows): IngestResult {
  const { batches, ofRows, replayed, pending, quota } = staged;
  const [first] = batches;
  if (first === undefined) throw new RangeError('a request that was accepted has a batch');
  // The newest of each lane: chunks before and after a change of the number of lanes may be in different ones.
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
  return { accepted, table, lane: first.lane, batches: ofRows, flush: flushFor(ctx, pending), quota };
}
