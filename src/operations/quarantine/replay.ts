import * as z from 'zod';
import { findNow } from '../../catalog/find-table.ts';
import { atAllRows } from '../../catalog/lane-location.ts';
import { type OpenRecord, quarantineTable } from '../../catalog/quarantine-table.ts';
import { assertDefined } from '../../core/assert.ts';
import { ApiError } from '../../core/errors.ts';
import { quoteString } from '../../core/identifiers.ts';
import { findInFlight, type Identity } from '../../ingest/rejected-rows.ts';
import type { Table } from '../../schema/table.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationDeps } from '../deps.ts';
import { resendRows, stageLine, storedOf, triedLines } from './resend.ts';
import { flushQuarantine, type Settling, settleExclusively } from './settle.ts';

/** Columns that a row has no value in are null, and are left out. */
const openRow = z.record(z.string(), z.unknown());

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

/** Of one answer: a row may have a large payload. */
const listed_bytes_max = 16 * 1024 * 1024;

type Wanted = {
  table?: string | undefined;
  /** These and no others. */
  ids?: string[] | undefined;
  /** Those that come later than this one, which is perhaps not open any more. */
  after?: string | undefined;
  limit: number;
};

/** The order of rows in quarantine. */
const place = "(timestamp, ifNull(lane, -1), ifNull(seq, -1), ifNull(row, -1), ifNull(index, -1), ifNull(id, ''))";

/**
 * The rows in a dataset's quarantine that nothing has become of, the earliest first.
 *
 * @throws TimestoreError `not-found` when the dataset has none; StoreError when a store that this needs is away
 */
export async function openRecords(
  ctx: OperationDeps,
  dataset: string,
  { table, ids, after, limit }: Wanted,
): Promise<OpenRecord[]> {
  const quarantine = await findNow(ctx, dataset, quarantineTable);
  if (quarantine === undefined) throw new ApiError('not-found', `Nothing of dataset ${dataset} is in quarantine.`);
  await flushQuarantine(ctx, quarantine);
  const { node, nameOf } = atAllRows(ctx, [quarantine]);
  const name = nameOf(quarantine);
  const rows = checkRows(
    openRow,
    await node.clickhouse.rows(
      `WITH ${place} AS place
     SELECT * EXCEPT (_lane, _seq, _row, _received_at, _partition, index, lane, seq, row, schema_version, bytes),
            toInt64(index) AS index, toInt32(lane) AS lane, toInt64(seq) AS seq, toInt64(row) AS row,
            toInt32(schema_version) AS schema_version, toInt64(bytes) AS bytes
       FROM ${name}
      WHERE event = 'quarantined' AND ({table:String} = '' OR table = {table:String})
        AND id GLOBAL NOT IN (SELECT id FROM ${name} WHERE event != 'quarantined')
        ${ids === undefined ? '' : `AND id IN (${ids.map(quoteString).join(',')})`}
        ${after === undefined ? '' : `AND place > (SELECT min(${place}) FROM ${name} WHERE id = {after:String} AND event = 'quarantined')`}
      ORDER BY place LIMIT 1 BY id LIMIT {limit:UInt32}`,
      { table: table ?? '', limit, ...(after !== undefined && { after }) },
      {
        output_format_json_quote_64bit_integers: 0,
        date_time_output_format: 'iso',
        // What goes beyond is left for the next call.
        max_result_bytes: listed_bytes_max,
        result_overflow_mode: 'break',
        max_block_size: 64,
      },
    ),
  );
  return rows.map((row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as OpenRecord);
}

/** Whether records are so large together that there may be more than their answer had room for. */
export function mayBeCut(records: OpenRecord[]): boolean {
  return records.reduce((sum, record) => sum + JSON.stringify(record).length, 0) > listed_bytes_max / 2;
}

/**
 * Sends rows from quarantine again: those that were refused when they were sent as they came, those that ClickHouse
 * refused as they were buffered. Each is accepted once, however long ago an earlier replay was and wherever it ended: a
 * row that is staged is remembered until it is settled, and only the replay that has begun last stages any.
 *
 * @param records those that are not open any more are left out
 * @throws TimestoreError, StoreError; rows that were accepted before stay so, and are settled
 */
export async function replayRecords(ctx: OperationDeps, dataset: string, records: OpenRecord[]): Promise<ReplayResult> {
  let rest: Pick<ReplayResult, 'refused' | 'waiting'> = { refused: [], waiting: 0 };
  const { replayed, stored } = await settleExclusively(ctx, dataset, records, async (open, settling) => {
    rest = { refused: [], waiting: 0 };
    for (const [name, of] of Map.groupBy(open, (record) => record.table)) {
      const [sent, buffered] = [of.filter(isSent), of.filter((record) => !isSent(record))];
      await settling.inPages(sent, async (record, done) => {
        const problem = await resendRows(ctx, dataset, record, settling.replayOf(record));
        if (problem === undefined) done(record, 'replayed');
        else rest.refused.push({ id: record.id, ...problem });
      });
      const table = await findNow(ctx, dataset, name);
      if (table === undefined || buffered.length === 0) continue;
      const { refused, waiting } = await replayBuffered(ctx, table, buffered, settling);
      rest.refused.push(...refused);
      rest.waiting += waiting;
    }
  });
  const retryAfterMs = 2 * ctx.config.limits.insert_timeout_ms;
  return { replayed, stored, ...rest, ...(rest.waiting > 0 && { retryAfterMs }) };
}

/** Those that had been acknowledged before: as far as ClickHouse has not got them after all. */
async function replayBuffered(
  ctx: OperationDeps,
  table: Table,
  buffered: OpenRecord[],
  settling: Settling,
): Promise<Pick<ReplayResult, 'refused' | 'waiting'>> {
  const stored = await storedOf(ctx, table, buffered);
  await settling.inPages(stored, (record, done) => done(record, 'stored'));
  const rest = buffered.filter((record) => !stored.includes(record));
  const late = await findInFlight(ctx, table, rest as (OpenRecord & Identity)[]);
  const ready = rest.filter((record) => !late.some(({ id }) => id === record.id));
  const { lines, refused } = await triedLines(ctx, table, ready);
  const taken = ready.filter((record) => !refused.has(record));
  await settling.inPages(taken, async (record, done) => {
    const line = assertDefined(lines.get(record), `quarantine record ${record.id} has a line`);
    await stageLine(ctx, table, record, line, settling.replayOf(record));
    done(record, 'replayed');
  });
  const reason = 'refused-by-clickhouse';
  const detail = 'ClickHouse still refuses this row; look at the constraints of its table';
  return { refused: [...refused].map(({ id }) => ({ id, reason, detail })), waiting: late.length };
}

/**
 * Says that rows in quarantine will not be sent again. They stay on record.
 *
 * @returns how many were open
 * @throws TimestoreError, StoreError
 */
export async function discardRecords(ctx: OperationDeps, dataset: string, records: OpenRecord[]): Promise<number> {
  const { discarded } = await settleExclusively(ctx, dataset, records, async (open, settling) => {
    await settling.inPages(open, (record, done) => done(record, 'discarded'));
  });
  return discarded;
}

function isSent({ origin }: OpenRecord): boolean {
  return origin === 'request';
}
