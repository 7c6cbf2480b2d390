import * as z from 'zod';
import type { Seal } from '../buffer/seal.ts';
import { assert } from '../core/assert.ts';
import { qualifiedName, quoteName } from '../core/identifiers.ts';
import type { Retention, Table } from '../schema/table.ts';
import { parseTimestampText } from '../schema/timestamp.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { FlushNode } from './deps.ts';
import { longStatement, matchBatches } from './row-count.ts';

const countRetainedRowsRow = z.object({ from_ms: z.string(), found: z.string() });

/**
 * Counts the rows of a seal within their retention by ClickHouse's clock, in the table and in the seal. A row within its
 * retention now was within it at the insert; ClickHouse may have dropped the others at once. A retention counts whole seconds,
 * so a row may be dropped up to one second early.
 */
export async function countRetainedRows(
  node: FlushNode,
  table: Table,
  { totalDays }: Retention,
  lane: number,
  seal: Seal,
): Promise<{ found: number; sent: number }> {
  const time = quoteName(table.schema.timestampColumn);
  const [row] = checkRows(
    countRetainedRowsRow,
    await node.clickhouse.rows(
      `WITH now64(3, 'UTC') - toIntervalDay({days:UInt32}) + toIntervalSecond(1) AS retained
     SELECT toUnixTimestamp64Milli(retained) AS from_ms, countIf(${time} >= retained) AS found
       FROM ${qualifiedName(table)} WHERE _lane = {lane:UInt16} AND _seq BETWEEN {from:UInt64} AND {to:UInt64}
        AND ${matchBatches(seal.batches)}`,
      { days: totalDays, lane, from: seal.from, to: seal.to },
      longStatement,
    ),
  );
  const from_ms = Number(row?.from_ms);
  const sent = seal.batches.reduce((sum, batch) => {
    const skipped = seal.skip.get(batch.seq);
    if (batch.timeMin_ms >= from_ms) return sum + batch.rows - (skipped?.size ?? 0);
    const lines = batch.payload.split('\n').slice(0, -1);
    return sum + lines.filter((line, n) => !skipped?.has(n) && readTime_ms(line, table) >= from_ms).length;
  }, 0);
  return { found: Number(row?.found), sent };
}

function readTime_ms(line: string, { schema }: Table): number {
  const time = parseTimestampText(String(JSON.parse(line)[schema.timestampColumn]));
  assert(!('reason' in time), 'a buffered row has a timestamp');
  return time.time_ms;
}
