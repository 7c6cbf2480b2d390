import { takeLease } from '../buffer/lease.ts';
import { publishSeal } from '../buffer/publish.ts';
import { type Seal, sealLane } from '../buffer/seal.ts';
import { findTable } from '../catalog/find-table.ts';
import type { Table } from '../catalog/table.ts';
import { ClickHouseError, clickhouseCodes } from '../clickhouse/client.ts';
import { addMissingColumns, ensureTable } from '../clickhouse/table.ts';
import type { Context } from '../context.ts';
import { StoreError } from '../errors.ts';
import { describeError } from '../log.ts';
import { countSeal, type PartitionCount, rowsCounted } from './count.ts';
import { writeHeartbeat } from './heartbeat.ts';
import { insertSeal, settingsVersion } from './insert.ts';
import { manifestOf, newestVersion } from './manifest.ts';

export type FlushTrigger = 'cron' | 'size' | 'age' | 'admin' | 'query';

/**
 * `ok`: a seal was published, by this flush or by another that held the same one. `busy`: somebody else flushes the lane.
 * `empty`: nothing was pending. `fenced`: the seal is not this flush's any more, or its batches are not what it says.
 */
export type FlushOutcome = 'ok' | 'busy' | 'empty' | 'fenced';

export type FlushResult = { outcome: FlushOutcome; rows: number; bytes: number; more: boolean };

/** What an insert that the server has answered with OK may still lack: see the count. */
const repairsMax = 2;

/**
 * Moves one seal of a lane from the hot buffer to ClickHouse. It may die anywhere, run twice, or run beside another one.
 *
 * @param insertTimeout_ms less where the runtime itself is cut short
 * @throws StoreError, ClickHouseError: the seal stays, and the next flush takes it over
 */
export async function flushLane(
  ctx: Context,
  table: Table,
  lane: number,
  trigger: FlushTrigger,
  insertTimeout_ms = ctx.config.limits.insert_timeout_ms,
): Promise<FlushResult> {
  const phases: Record<string, number> = {};
  const timed = async <T>(phase: string, work: Promise<T>): Promise<T> => {
    const from = ctx.now();
    try {
      return await work;
    } finally {
      phases[`${phase}_ms`] = (phases[`${phase}_ms`] ?? 0) + ctx.now() - from;
    }
  };
  const event = { event: 'flush', dataset: table.dataset, table: table.name, lane, trigger };

  const release = await timed('lease', takeLease(ctx, table, lane));
  if (release === undefined) return { outcome: 'busy', rows: 0, bytes: 0, more: true };
  try {
    const sealed = await timed('seal', sealLane(ctx, table, lane, settingsVersion));
    if (!('seal' in sealed)) {
      const outcome = sealed.outcome === 'fenced' ? 'fenced' : 'empty';
      if (outcome === 'fenced') ctx.log({ ...event, ...sealed, alarm: true });
      return { outcome, rows: 0, bytes: 0, more: false };
    }
    const { seal } = sealed;
    const current = await timed('schema', tableFor(ctx, table, seal));
    const { counted, inserts } = await insertAndCount(ctx, current, lane, seal, insertTimeout_ms, timed);
    await timed('heartbeat', writeHeartbeat(ctx, table, lane, seal.to));
    const manifest = manifestOf(table, lane, seal, counted, { trigger, now_ms: ctx.now() });
    const published = await timed('publish', publishSeal(ctx, table, lane, seal, JSON.stringify(manifest)));
    const outcome = published.outcome === 'published' || published.outcome === 'already' ? 'ok' : 'fenced';
    const { token, epoch, rows, bytes, batches } = seal;
    const took = { seal: sealed.outcome, token, epoch, rows, bytes, batches: batches.length, inserts };
    ctx.log({ ...event, outcome, ...took, publish: published, ...phases });
    return { outcome, rows, bytes, more: outcome === 'ok' };
  } catch (error) {
    ctx.columnsAdded.delete(keyOf(table)); // whatever it was, the next flush looks again
    ctx.log({ ...event, outcome: 'failed', ...describeError(error), ...phases });
    throw error;
  } finally {
    await release().catch(() => undefined); // it expires by itself
  }
}

/** The definition that the seal's newest batch was checked against, with its columns in ClickHouse. */
async function tableFor(ctx: Context, table: Table, seal: Seal): Promise<Table> {
  const version = newestVersion(seal);
  const current = await findTable(ctx, table.dataset, table.name, { version });
  if (current === undefined || current.schema.version < version) {
    throw new StoreError('postgres', `does not know schema version ${version} of table ${table.name} yet`, undefined);
  }
  if (ctx.columnsAdded.get(keyOf(table)) !== current.schema.version) {
    await addMissingColumns(ctx, current).catch(async (error) => {
      if (!(error instanceof ClickHouseError) || !tableIsMissing(error)) throw error;
      await ensureTable(ctx, current);
    });
    ctx.columnsAdded.set(keyOf(table), current.schema.version);
  }
  return current;
}

/**
 * Inserts until ClickHouse shows every row. After an error the next try starts at the seal's own token again, since the
 * failed insert may still come; a repair token is for rows that are missing although the insert was answered with OK,
 * which happens when a server dies after it has remembered a token and before it has kept the rows.
 */
async function insertAndCount(
  ctx: Context,
  table: Table,
  lane: number,
  seal: Seal,
  timeout_ms: number,
  timed: <T>(phase: string, work: Promise<T>) => Promise<T>,
): Promise<{ counted: PartitionCount[]; inserts: number }> {
  let rows = 0;
  for (let attempt = 0; attempt <= repairsMax; attempt += 1) {
    await timed('insert', insertSeal(ctx, table, lane, seal, attempt, timeout_ms));
    const counted = await timed('count', countSeal(ctx, table, lane, seal));
    rows = rowsCounted(counted);
    if (rows === seal.rows) return { counted, inserts: attempt + 1 };
    ctx.log({
      event: 'rows-missing',
      alarm: rows > seal.rows,
      token: seal.token,
      attempt,
      expected: seal.rows,
      found: rows,
    });
    if (rows > seal.rows) break;
  }
  throw new StoreError('clickhouse', `shows ${rows} rows of a seal of ${seal.rows}`, undefined);
}

function tableIsMissing({ code }: ClickHouseError): boolean {
  return code === clickhouseCodes.unknownTable || code === clickhouseCodes.unknownDatabase;
}

function keyOf({ dataset, physical }: Table): string {
  return `${dataset}.${physical}`;
}
