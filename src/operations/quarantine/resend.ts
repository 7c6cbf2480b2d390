import * as z from 'zod';
import { youngerDefaults } from '../../buffer/batch-rows.ts';
import type { Replay } from '../../buffer/replays.ts';
import { atLane } from '../../catalog/lane-location.ts';
import { csvOf, type OpenRecord } from '../../catalog/quarantine-table.ts';
import { addColumnsAt } from '../../catalog/table-ddl.ts';
import { assert } from '../../core/assert.ts';
import { ApiError, StoreError } from '../../core/errors.ts';
import { qualifiedName } from '../../core/identifiers.ts';
import { settingsVersion } from '../../flush/insert.ts';
import { rejectedByProbe } from '../../flush/insert-probe.ts';
import { ingestRows } from '../../ingest/ingest.ts';
import { resolveStageOutcome } from '../../ingest/resolve-stage-outcome.ts';
import { stageChunks } from '../../ingest/stage-chunks.ts';
import type { PreparedRows } from '../../schema/prepare.ts';
import type { Table } from '../../schema/table.ts';
import { parseTimestampText } from '../../schema/timestamp.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationDeps } from '../deps.ts';

/** Enough for the rows of one call if all of them are invalid. */
const probe_ms_max = 60_000;
const rounds_max = 20;

/** Returns why the row was rejected again; undefined when it was accepted. */
export async function resendRows(
  ctx: OperationDeps,
  dataset: string,
  record: OpenRecord,
  replay: Replay,
): Promise<{ reason: string; detail: string } | undefined> {
  const csv = csvOf(record);
  const text = csv ?? (await readPayload(ctx, record));
  const isCsv = csv !== undefined || record.object?.endsWith('.csv');
  try {
    await ingestRows(ctx, {
      dataset,
      table: record.table,
      text,
      format: isCsv ? 'csv' : 'json',
      idempotencyKey: `replay:${record.id}`,
      replay,
    });
    return undefined;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.code === 'malformed-body') return { reason: error.code, detail: error.message };
    if (error.code !== 'rows-refused') throw error;
    const [first] = error.extra.errors as { reason: string; detail: string }[];
    return { reason: first?.reason ?? error.code, detail: first?.detail ?? error.message };
  }
}

const storedOfRow = z.object({ seq: z.string(), row: z.number() });

/** The records whose row is in ClickHouse under its original identity. */
export async function findStored(ctx: OperationDeps, table: Table, records: OpenRecord[]): Promise<OpenRecord[]> {
  const own = records.filter(({ physical }) => physical === table.physical);
  const stored: OpenRecord[] = [];
  for (const [lane = 0, group] of Map.groupBy(own, (record) => record.lane)) {
    const node = await atLane(ctx, table, lane);
    const places = group.map(({ seq, row }) => `(${Number(seq)},${Number(row)})`);
    // Before a failover of the hot buffer, another batch may have had the same sequence.
    const skipped = 'dataset = {dataset:String} AND `table` = {table:String} AND lane = {lane:UInt16}';
    const found = checkRows(
      storedOfRow,
      await node.clickhouse.rows(
        `SELECT _seq AS seq, _row AS row FROM ${qualifiedName(table)}
        WHERE _lane = {lane:UInt16} AND (_seq, _row) IN (${places.join(',')})
          AND ((_seq, _row, _received_at) IN (SELECT seq, row, received_at FROM timestore.skipped_rows WHERE ${skipped})
               OR (_seq, _row) IN (SELECT seq, row FROM timestore.skipped_rows WHERE ${skipped} AND received_at = 0))`,
        { lane, dataset: table.dataset, table: table.physical },
        { max_query_size: 4_194_304, max_ast_elements: 1_000_000 },
      ),
    );
    const foundKeys = new Set(found.map(({ seq, row }) => `${seq} ${row}`));
    stored.push(...group.filter(({ seq, row }) => foundKeys.has(`${seq} ${row}`)));
  }
  return stored;
}

/** The lines to stage for rows that were acknowledged, and the rows that ClickHouse would reject again. */
export async function probeLines(
  ctx: OperationDeps,
  table: Table,
  records: OpenRecord[],
): Promise<{ lines: Map<OpenRecord, string>; refused: Set<OpenRecord> }> {
  const lines = new Map<OpenRecord, string>();
  for (const record of records) lines.set(record, await buildLine(ctx, table, record));
  if (records.length === 0) return { lines, refused: new Set() };
  const candidates = [...lines].map(([place, line]) => ({ place, line: `{"_seq":0,"_row":0,${line}\n` }));
  const name = `replay.${crypto.randomUUID()}`;
  const deadline_ms = ctx.now() + probe_ms_max;
  // All shards have the same constraints, but this one may not have all fields of the rows yet.
  const node = await atLane(ctx, table, 0);
  await addColumnsAt(node, table);
  const refused = new Set(await rejectedByProbe(node, table, name, settingsVersion, candidates, deadline_ms));
  return { lines, refused };
}

/** The line to stage for a buffered row: without its place, and with the defaults of later fields. */
async function buildLine(ctx: OperationDeps, { schema }: Table, record: OpenRecord): Promise<string> {
  const row = (await readPayload(ctx, record)).replace(/^\{"_row":\d+,/, '');
  return youngerDefaults(schema, record.schema_version ?? schema.version) + row;
}

/** Stages one row as a batch of its own. */
export async function stageLine(
  ctx: OperationDeps,
  table: Table,
  { id, meta = '' }: OpenRecord,
  line: string,
  replay: Replay,
): Promise<void> {
  const time = parseTimestampText(String(JSON.parse(`{${line}`)[table.schema.timestampColumn]));
  assert(!('reason' in time), 'a buffered row has a valid timestamp');
  const none = { added: [], errors: [], errorsTotal: 0, refused: [] };
  const prepare = (): PreparedRows => ({ lines: [line], times_ms: [time.time_ms], ...none });
  const keyed = { idempotencyKey: `replay:${id}`, requestHash: id, replay };
  const request = { ...keyed, meta, durable: false, prepareAgain: prepare };
  let current = table;
  for (let round = 0; round < rounds_max; round += 1) {
    const staged = await stageChunks(ctx, current, prepare(), request);
    if (staged.outcome === 'accepted') return;
    current = (await resolveStageOutcome(ctx, current, staged)) ?? table;
  }
  throw new ApiError('conflict', `Table ${table.name} kept changing. Try again.`, { retryAfterMs: 500 });
}

async function readPayload(ctx: OperationDeps, { id, payload, object }: OpenRecord): Promise<string> {
  if (payload !== undefined) return payload;
  const stored = object === undefined ? undefined : await ctx.objects.get(object);
  if (stored === undefined)
    throw new StoreError('s3', `has no object with the row of quarantine record ${id}`, undefined);
  return stored;
}
