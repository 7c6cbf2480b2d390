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
import { findStored, probeLines, resendRows, stageLine } from './resend.ts';
import { flushQuarantine, type Settling, settleExclusively } from './settle.ts';

/** A row has null in columns without a value; they are removed. */
const openRow = z.record(z.string(), z.unknown());

export type ReplayResult = {
  /** Accepted as new rows. */
  replayed: number;
  /** Already in ClickHouse, by a late insert. */
  stored: number;
  /** Rows that are still invalid, with the reason. */
  refused: { id: string; reason: string; detail: string }[];
  /** Rows that were quarantined so recently that an insert with them may still be running: retry after `retryAfterMs`. */
  waiting: number;
  retryAfterMs?: number;
};

/** Size of one answer: a row may have a large payload. */
const listed_bytes_max = 16 * 1024 * 1024;

type OpenFilter = {
  table?: string | undefined;
  /** Only these. */
  ids?: string[] | undefined;
  /** Only records after this one, which need not be open any more. */
  after?: string | undefined;
  limit: number;
};

/** The order of rows in quarantine. */
const place = "(timestamp, ifNull(lane, -1), ifNull(seq, -1), ifNull(row, -1), ifNull(index, -1), ifNull(id, ''))";

/**
 * The rows in a dataset's quarantine that are not settled, earliest first.
 *
 * @throws TimestoreError `not-found` for a dataset without a quarantine; StoreError when a required store is unavailable
 */
export async function openRecords(
  ctx: OperationDeps,
  dataset: string,
  { table, ids, after, limit }: OpenFilter,
): Promise<OpenRecord[]> {
  const quarantine = await findNow(ctx, dataset, quarantineTable);
  if (quarantine === undefined) throw new ApiError('not-found', `Dataset ${dataset} has no quarantined rows.`);
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
        // The next call returns rows beyond this limit.
        max_result_bytes: listed_bytes_max,
        result_overflow_mode: 'break',
        max_block_size: 64,
      },
    ),
  );
  return rows.map((row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as OpenRecord);
}

/** Whether the size limit may have cut the list of records. */
export function mayBeCut(records: OpenRecord[]): boolean {
  return records.reduce((sum, record) => sum + JSON.stringify(record).length, 0) > listed_bytes_max / 2;
}

/**
 * Sends quarantined rows again: rows that were rejected in a request as they were sent, rows that ClickHouse rejected as they
 * were buffered. Each row is accepted once, even after an earlier replay that was interrupted: the hot buffer remembers a
 * staged row until it is settled, and only the latest replay stages rows.
 *
 * @param records records that are not open any more are ignored
 * @throws TimestoreError, StoreError; rows that were accepted before the error stay accepted and are settled
 */
export async function replayRecords(ctx: OperationDeps, dataset: string, records: OpenRecord[]): Promise<ReplayResult> {
  let rest: Pick<ReplayResult, 'refused' | 'waiting'> = { refused: [], waiting: 0 };
  const { replayed, stored } = await settleExclusively(ctx, dataset, records, async (open, settling) => {
    rest = { refused: [], waiting: 0 };
    for (const [name, group] of Map.groupBy(open, (record) => record.table)) {
      const [sent, buffered] = [group.filter(isSent), group.filter((record) => !isSent(record))];
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

/** Replays rows that were acknowledged, except rows that a late insert has stored. */
async function replayBuffered(
  ctx: OperationDeps,
  table: Table,
  buffered: OpenRecord[],
  settling: Settling,
): Promise<Pick<ReplayResult, 'refused' | 'waiting'>> {
  const stored = await findStored(ctx, table, buffered);
  await settling.inPages(stored, (record, done) => done(record, 'stored'));
  const rest = buffered.filter((record) => !stored.includes(record));
  const late = await findInFlight(ctx, table, rest as (OpenRecord & Identity)[]);
  const ready = rest.filter((record) => !late.some(({ id }) => id === record.id));
  const { lines, refused } = await probeLines(ctx, table, ready);
  const accepted = ready.filter((record) => !refused.has(record));
  await settling.inPages(accepted, async (record, done) => {
    const line = assertDefined(lines.get(record), `quarantine record ${record.id} has a line`);
    await stageLine(ctx, table, record, line, settling.replayOf(record));
    done(record, 'replayed');
  });
  const reason = 'refused-by-clickhouse';
  const detail = 'ClickHouse still rejects this row; check the constraints of its table';
  return { refused: [...refused].map(({ id }) => ({ id, reason, detail })), waiting: late.length };
}

/**
 * Discards quarantined rows: they will not be sent again. Their records stay.
 *
 * @returns how many of the rows were open
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
