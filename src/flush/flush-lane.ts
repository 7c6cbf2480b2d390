import { deferLane } from '../buffer/due.ts';
import type { FlushTrigger } from '../buffer/flush-trigger.ts';
import { takeLease } from '../buffer/lease.ts';
import { differs, publishSeal } from '../buffer/publish.ts';
import { type Seal, sealLane } from '../buffer/seal.ts';
import { ensureTable } from '../catalog/ensure-table.ts';
import { findTable } from '../catalog/find-table.ts';
import { atLane } from '../catalog/lane-location.ts';
import { LifeEndedError } from '../catalog/life.ts';
import { addColumnsAt, requireTypes } from '../catalog/table-ddl.ts';
import { StoreError } from '../core/errors.ts';
import { inEachInstance } from '../core/instance-memory.ts';
import { describeError } from '../core/log.ts';
import { LruMap } from '../core/lru-map.ts';
import { quarantineRejectedRows } from '../ingest/rejected-rows.ts';
import type { Table } from '../schema/table.ts';
import { ClickHouseError, clickhouseCodes } from '../stores/clickhouse/client.ts';
import type { FlushDeps, FlushNode } from './deps.ts';
import { writeHeartbeat } from './heartbeat.ts';
import { settingsVersion } from './insert.ts';
import { buildSealManifest, newestVersion } from './manifest.ts';
import { moveSeal, type Timed } from './move-seal.ts';

/** Schema versions that tables of shards are known to have, by `<shard> <dataset>.<physical>`. */
export const columnsAdded = inEachInstance(({ limits }) => new LruMap<number>(limits.kept_names_max));

/** A caller waits for these flushes, so they do not respect the wait after a failure. */
const forcing = new Set<FlushTrigger>(['admin', 'query', 'ack']);

/**
 * `ok`: this flush or another one published the seal. `busy`: another flush holds the lane, or the lane waits after a failure.
 * `empty`: no rows were pending. `fenced`: this flush has lost the seal, or the log does not match the seal.
 */
export type FlushOutcome = 'ok' | 'busy' | 'empty' | 'fenced';

export type FlushResult = { outcome: FlushOutcome; rows: number; bytes: number; more: boolean };

/**
 * Moves one seal of a lane from the hot buffer to ClickHouse. Safe to crash at any point, to repeat, and to run concurrently.
 *
 * @param insertTimeout_ms shorter if the runtime ends earlier
 * @throws StoreError, ClickHouseError; the next flush takes the seal over
 */
export async function flushLane(
  ctx: FlushDeps,
  table: Table,
  lane: number,
  trigger: FlushTrigger,
  insertTimeout_ms = ctx.config.limits.insert_timeout_ms,
): Promise<FlushResult> {
  const node = await atLane(ctx, table, lane);
  const phases: Record<string, number> = {};
  const from_ms = ctx.now();
  const timed: Timed = async (phase, work) => {
    const from = ctx.now();
    try {
      return await work;
    } finally {
      phases[`${phase}_ms`] = (phases[`${phase}_ms`] ?? 0) + ctx.now() - from;
    }
  };
  const event = { event: 'flush', dataset: table.dataset, table: table.name, lane, trigger };
  const noRows = { rows: 0, bytes: 0, more: false };

  const release = await timed('lease', takeLease(ctx, table, lane));
  if (release === undefined) return { ...noRows, outcome: 'busy', more: true };
  const reservation = ctx.memoryBudget.reserveFlush(ctx.config.limits.flush_bytes_max);
  try {
    const sealing = sealLane(ctx, table, lane, settingsVersion, forcing.has(trigger), reservation.bytesMax);
    const sealed = await timed('seal', sealing);
    if (!('seal' in sealed)) {
      if (sealed.outcome === 'fenced') ctx.log({ ...event, ...sealed, alarm: sealed.what !== 'published' });
      if (sealed.outcome === 'waits') return { ...noRows, outcome: 'busy' };
      return { ...noRows, outcome: sealed.outcome === 'fenced' ? 'fenced' : 'empty' };
    }
    reservation.holds(sealed.seal.bytes);
    const current = await timed('schema', prepareTable(node, table, sealed.seal));
    const moved = await moveSeal(node, current, lane, sealed.seal, insertTimeout_ms, timed);
    if (moved === undefined) {
      ctx.log({ ...event, outcome: 'fenced', token: sealed.seal.token, ...phases });
      return { ...noRows, outcome: 'fenced' };
    }
    const { seal } = moved;
    // Before publishing removes these rows from the buffer.
    if (seal.skip.size > 0) await timed('quarantine', quarantineRejectedRows(node, current, lane, seal));
    const received_ms = seal.batches.map(({ receivedAt_ms }) => receivedAt_ms);
    await timed('heartbeat', writeHeartbeat(node, table, lane, { from: seal.from, received_ms }));
    const { flush_meta_bytes_max: metaBytesMax } = ctx.config.limits;
    const manifest = buildSealManifest(table, lane, moved, { trigger, now_ms: ctx.now(), metaBytesMax });
    const said = seal.batches.filter(({ meta }) => meta !== '').length;
    if (manifest.batches.length < said) ctx.log({ event: 'manifest-cut', alarm: true, manifest: manifest.id, said });
    const published = await timed('publish', publishSeal(ctx, table, lane, seal, JSON.stringify(manifest)));
    if (published.outcome === 'published' && differs(published.waiting)) {
      ctx.log({ ...event, event: 'lane-differs', alarm: true, ...published.waiting });
    }
    const outcome = published.outcome === 'published' || published.outcome === 'already' ? 'ok' : 'fenced';
    const { token, epoch, rows, bytes, batches } = seal;
    const took = {
      seal: sealed.outcome,
      token,
      epoch,
      rows,
      bytes,
      batches: batches.length,
      inserts: manifest.inserts,
    };
    ctx.log({
      ...event,
      outcome,
      ...took,
      quarantined: manifest.quarantined,
      publish: published,
      took_ms: ctx.now() - from_ms,
      ...phases,
    });
    return { outcome, rows, bytes, more: outcome === 'ok' };
  } catch (error) {
    columnsAdded(ctx).delete(columnsKey(node, table)); // so that the next flush checks the columns again
    ctx.log({ ...event, outcome: 'failed', ...describeError(error), ...phases });
    await deferLane(ctx, table, lane).catch(() => undefined);
    throw error;
  } finally {
    reservation.release();
    await release().catch(() => undefined); // the lease expires
  }
}

/** The definition of the seal's newest schema version, with its columns in ClickHouse. */
async function prepareTable(node: FlushNode, table: Table, seal: Seal): Promise<Table> {
  const version = newestVersion(seal);
  // Looked up again, because the rows can have a later schema version than `table`, and the name another life by now.
  const current = await findTable(node, table.dataset, table.name, { version });
  // The name may belong to a later life, which must not get these rows.
  if (current !== undefined && current.physical !== table.physical) throw new LifeEndedError(table);
  if (current === undefined || current.schema.version < version) {
    throw new StoreError('postgres', `does not know schema version ${version} of table ${table.name} yet`, undefined);
  }
  if (columnsAdded(node).get(columnsKey(node, table)) !== current.schema.version) {
    await addColumnsAt(node, current).catch(async (error) => {
      if (!(error instanceof ClickHouseError) || !tableIsMissing(error)) throw error;
      await ensureTable(node, current, [node.shard]);
    });
    await requireTypes(node, current);
    columnsAdded(node).set(columnsKey(node, table), current.schema.version);
  }
  return current;
}

function tableIsMissing({ code }: ClickHouseError): boolean {
  return code === clickhouseCodes.unknownTable || code === clickhouseCodes.unknownDatabase;
}

function columnsKey({ shard }: FlushNode, { dataset, physical }: Table): string {
  return `${shard} ${dataset}.${physical}`;
}
