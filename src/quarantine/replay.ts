import { findNow, findTable } from '../catalog/find-table.ts';
import type { Table } from '../catalog/table.ts';
import { atLane, atWhole } from '../clickhouse/cluster.ts';
import { addColumnsAt } from '../clickhouse/table.ts';
import type { Context } from '../context.ts';
import { StoreError, TimestoreError } from '../errors.ts';
import { flushTable } from '../flush/flush-table.ts';
import { settingsVersion } from '../flush/insert.ts';
import { youngerDefaults } from '../flush/payload.ts';
import { refusedByTwin } from '../flush/twin.ts';
import { ingestRows } from '../ingest/ingest.ts';
import { settle } from '../ingest/settle.ts';
import { stageChunks } from '../ingest/stage-chunks.ts';
import { qualifiedName } from '../names.ts';
import type { PreparedRows } from '../schema/prepare.ts';
import { parseTimestampText } from '../schema/timestamp.ts';
import { digest, recordInQuarantine } from './quarantine.ts';
import { type Identity, stillOnTheirWay } from './skipped.ts';
import { type QuarantineRecord, quarantineTable } from './table.ts';

/** A row in quarantine that nothing has become of yet. */
export type OpenRecord = QuarantineRecord & { timestamp: string };

export type ReplayResult = {
  /** Accepted now, as new rows. */
  replayed: number;
  /** They had come to ClickHouse after all, by an insert from before. */
  stored: number;
  /** Still at fault, and why. */
  refused: { id: string; reason: string; detail: string }[];
  /** Set aside so lately that an insert with them may still be on its way: ask again after `retryAfterMs`. */
  waiting: number;
  retryAfterMs?: number;
};

const flushLongest_ms = 15_000;
/** Enough for as many as one call takes, all of them at fault. */
const probeLongest_ms = 60_000;
/** Of one answer: a row may have a large payload. */
const listed_bytes_max = 16 * 1024 * 1024;
const roundsMax = 20;

/**
 * The rows in a dataset's quarantine that nothing has become of, the earliest first.
 *
 * @throws TimestoreError `not-found` when the dataset has none; StoreError when a store that this needs is away
 */
export async function openRecords(
  ctx: Context,
  dataset: string,
  { table, limit }: { table?: string | undefined; limit: number },
): Promise<OpenRecord[]> {
  const quarantine = await findNow(ctx, dataset, quarantineTable);
  if (quarantine === undefined)
    throw new TimestoreError('not-found', `Nothing of dataset ${dataset} is in quarantine.`);
  const { complete } = await flushTable(ctx, quarantine, 'admin', ctx.now() + flushLongest_ms);
  if (!complete) throw new StoreError('clickhouse', 'has not taken the newest rows of the quarantine yet', undefined);
  const { at, nameOf } = atWhole(ctx, [quarantine]);
  const name = nameOf(quarantine);
  const rows = await at.clickhouse.rows<OpenRecord>(
    `SELECT * EXCEPT (_lane, _seq, _row, _received_at, _partition, index, lane, seq, row, schema_version, bytes),
            toInt64(index) AS index, toInt32(lane) AS lane, toInt64(seq) AS seq, toInt64(row) AS row,
            toInt32(schema_version) AS schema_version, toInt64(bytes) AS bytes
       FROM ${name}
      WHERE event = 'quarantined' AND ({table:String} = '' OR table = {table:String})
        AND id GLOBAL NOT IN (SELECT id FROM ${name} WHERE event != 'quarantined')
      ORDER BY timestamp, lane, seq, row, index, id LIMIT 1 BY id LIMIT {limit:UInt32}`,
    { table: table ?? '', limit },
    {
      ...{ output_format_json_quote_64bit_integers: 0, date_time_output_format: 'iso' },
      // What goes beyond is left for the next call.
      ...{ max_result_bytes: listed_bytes_max, result_overflow_mode: 'break', max_block_size: 64 },
    },
  );
  return rows.map((row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as OpenRecord);
}

/**
 * Sends rows from quarantine again: those that were refused when they were sent as they came, those that ClickHouse
 * refused as they were buffered. Each is accepted under a key of its own, so that doing it again doubles none.
 *
 * @throws TimestoreError, StoreError; rows that were accepted before stay so
 */
export async function replayRecords(ctx: Context, dataset: string, records: OpenRecord[]): Promise<ReplayResult> {
  const result: ReplayResult = { replayed: 0, stored: 0, refused: [], waiting: 0 };
  const settled: QuarantineRecord[] = [];
  const done = ({ id, table, origin }: OpenRecord, event: 'replayed' | 'stored') => {
    settled.push({ id, event, table, origin });
    result[event] += 1;
  };
  for (const [name, of] of Map.groupBy(records, (record) => record.table)) {
    const [sent, buffered] = [of.filter(isSent), of.filter((record) => !isSent(record))];
    for (const record of sent) {
      const problem = await sendAgain(ctx, dataset, record);
      if (problem === undefined) done(record, 'replayed');
      else result.refused.push({ id: record.id, ...problem });
    }
    const table = await findNow(ctx, dataset, name);
    if (table === undefined || buffered.length === 0) continue;
    const stored = await storedOf(ctx, table, buffered);
    for (const record of stored) done(record, 'stored');
    const rest = buffered.filter((record) => !stored.includes(record));
    const late = await stillOnTheirWay(ctx, table, rest as (OpenRecord & Identity)[]);
    const ready = rest.filter((record) => !late.some(({ id }) => id === record.id));
    if (late.length > 0) {
      result.waiting += late.length;
      result.retryAfterMs = 2 * ctx.config.limits.insert_timeout_ms;
    }
    const refused = await stageBuffered(ctx, table, ready);
    for (const record of ready) {
      if (!refused.has(record)) done(record, 'replayed');
      else {
        const detail = 'ClickHouse still refuses this row; look at the constraints of its table';
        result.refused.push({ id: record.id, reason: 'refused-by-clickhouse', detail });
      }
    }
  }
  await settleRecords(ctx, dataset, settled);
  return result;
}

/** Says that rows in quarantine will not be sent again. They stay on record. Throws StoreError. */
export async function discardRecords(ctx: Context, dataset: string, records: OpenRecord[]): Promise<void> {
  const event = 'discarded';
  await settleRecords(
    ctx,
    dataset,
    records.map(({ id, table, origin }) => ({ id, event, table, origin })),
  );
}

async function settleRecords(ctx: Context, dataset: string, settled: QuarantineRecord[]): Promise<void> {
  if (settled.length === 0) return;
  const ids = digest(settled.map(({ id, event }) => `${id} ${event}`).join());
  await recordInQuarantine(ctx, dataset, settled, { idempotencyKey: `settled:${ids}`, requestHash: ids });
}

function isSent({ origin }: OpenRecord): boolean {
  return origin === 'request';
}

/** Returns why it was refused again; undefined when it was accepted. */
async function sendAgain(
  ctx: Context,
  dataset: string,
  record: OpenRecord,
): Promise<{ reason: string; detail: string } | undefined> {
  const text = await payloadOf(ctx, record);
  try {
    await ingestRows(ctx, {
      dataset,
      table: record.table,
      text,
      format: 'json',
      idempotencyKey: `replay:${record.id}`,
    });
    return undefined;
  } catch (error) {
    if (!(error instanceof TimestoreError)) throw error;
    if (error.code === 'malformed-body') return { reason: error.code, detail: error.message };
    if (error.code !== 'rows-refused') throw error;
    const [first] = error.extra.errors as { reason: string; detail: string }[];
    return { reason: first?.reason ?? error.code, detail: first?.detail ?? error.message };
  }
}

/** Those that ClickHouse has under the identity they had. */
async function storedOf(ctx: Context, table: Table, records: OpenRecord[]): Promise<OpenRecord[]> {
  const own = records.filter(({ physical }) => physical === table.physical);
  const stored: OpenRecord[] = [];
  for (const [lane = 0, of] of Map.groupBy(own, (record) => record.lane)) {
    const at = await atLane(ctx, table, lane);
    const places = of.map(({ seq, row }) => `(${Number(seq)},${Number(row)})`);
    // Another batch may have had the sequence before the hot buffer failed over.
    const skipped = 'dataset = {dataset:String} AND `table` = {table:String} AND lane = {lane:UInt16}';
    const found = await at.clickhouse.rows<{ seq: string; row: number }>(
      `SELECT _seq AS seq, _row AS row FROM ${qualifiedName(table)}
        WHERE _lane = {lane:UInt16} AND (_seq, _row) IN (${places.join(',')})
          AND ((_seq, _row, _received_at) IN (SELECT seq, row, received_at FROM timestore.skipped_rows WHERE ${skipped})
               OR (_seq, _row) IN (SELECT seq, row FROM timestore.skipped_rows WHERE ${skipped} AND received_at = 0))`,
      { lane, dataset: table.dataset, table: table.physical },
      { max_query_size: 4_194_304, max_ast_elements: 1_000_000 },
    );
    const there = new Set(found.map(({ seq, row }) => `${seq} ${row}`));
    stored.push(...of.filter(({ seq, row }) => there.has(`${seq} ${row}`)));
  }
  return stored;
}

/** Stages what had been acknowledged before, each as a batch of its own; returns those that would be refused again. */
async function stageBuffered(ctx: Context, table: Table, records: OpenRecord[]): Promise<Set<OpenRecord>> {
  const lines = new Map<OpenRecord, string>();
  for (const record of records) lines.set(record, await lineOf(ctx, table, record));
  const candidates = [...lines].map(([place, line]) => ({ place, line: `{"_seq":0,"_row":0,${line}\n` }));
  const name = `replay.${crypto.randomUUID()}`;
  const deadline_ms = ctx.now() + probeLongest_ms;
  // Constraints are the same wherever the table is; fields of the rows may have come to other shards only.
  const at = await atLane(ctx, table, 0);
  await addColumnsAt(at, table);
  const refused = new Set(await refusedByTwin(at, table, name, settingsVersion, candidates, deadline_ms));
  for (const [record, line] of lines) if (!refused.has(record)) await stageLine(ctx, table, record, line);
  return refused;
}

/** A buffered row as it is staged: without its place, and with the defaults of fields that are younger. */
async function lineOf(ctx: Context, { schema }: Table, record: OpenRecord): Promise<string> {
  const row = (await payloadOf(ctx, record)).replace(/^\{"_row":\d+,/, '');
  return youngerDefaults(schema, record.schema_version ?? schema.version) + row;
}

async function stageLine(ctx: Context, table: Table, { id, meta = '' }: OpenRecord, line: string): Promise<void> {
  const time_ms = parseTimestampText(String(JSON.parse(`{${line}`)[table.schema.timestampColumn]));
  if (typeof time_ms !== 'number') throw new RangeError('a buffered row has a timestamp');
  const none = { added: [], errors: [], errorsTotal: 0, refused: [] };
  const prepare = (): PreparedRows => ({ lines: [line], times_ms: [time_ms], ...none });
  const request = { idempotencyKey: `replay:${id}`, requestHash: id, meta, durable: false, prepareAgain: prepare };
  for (let round = 0; round < roundsMax; round += 1) {
    const current = (await findTable(ctx, table.dataset, table.name)) ?? table;
    const staged = await stageChunks(ctx, current, prepare(), request);
    if (staged.outcome === 'accepted') return;
    await settle(ctx, current, staged);
  }
  throw new TimestoreError('conflict', `Table ${table.name} kept changing. Try again.`, { retryAfterMs: 500 });
}

async function payloadOf(ctx: Context, { id, payload, object }: OpenRecord): Promise<string> {
  if (payload !== undefined) return payload;
  const stored = object === undefined ? undefined : await ctx.objects.get(object);
  if (stored === undefined) throw new StoreError('s3', `does not have the row of quarantine record ${id}`, undefined);
  return stored;
}
