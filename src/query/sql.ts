import type { Table } from '../catalog/table.ts';
import type { Settings } from '../clickhouse/client.ts';
import { qualifiedName, quoteName } from '../names.ts';
import type { QueryPlan } from './request.ts';

/**
 * Rows of these lanes count only up to these sequences. With `below`, rows of other lanes do not count at all: a lane may
 * have come since.
 */
export type Fence = { lanes: { lane: number; watermark: number }[]; below?: number };

export type Statement = { sql: string; params: Settings };

/** The name under which a tail is sent along with a query. */
export const tailName = 'tail';

/** In front of every row of an answer: the partition it came from, empty for the tail. No field begins with `_`. */
export const sourceColumn = '_from';

const identity = ['_lane', '_seq', '_row'] as const;

/**
 * The rows of a time range in the order of time, from the table up to the fence and from the tail. Filter, order and
 * limit stand in both branches: ClickHouse then reads the end of a range and not all of it.
 */
export function rowsStatement(table: Table, plan: QueryPlan, fence: Fence, withTail: boolean): Statement {
  const time = quoteName(table.schema.timestampColumn);
  const order = `ORDER BY ${[time, ...identity].join(', ')} LIMIT {limit:UInt64}`;
  // The time orders the answer, also where it is not answered.
  const inner = [...new Set([...plan.columns.map(quoteName), time, ...identity])].join(', ');
  const params: Settings = { param_limit: plan.limit };
  const range: string[] = [];
  if (plan.start_ms !== undefined) {
    range.push(`${time} >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')`);
    params.param_start = plan.start_ms;
  }
  if (plan.end_ms !== undefined) {
    range.push(`${time} < fromUnixTimestamp64Milli({end:Int64}, 'UTC')`);
    params.param_end = plan.end_ms;
  }
  const fences = fence.lanes.map(({ lane, watermark }) => {
    params[`param_w${lane}`] = watermark;
    return fence.below === 1 ? `_seq <= {w${lane}:UInt64}` : `(_lane != ${lane} OR _seq <= {w${lane}:UInt64})`;
  });
  if (fence.below !== undefined) fences.push(`_lane < ${fence.below}`);
  const where = (conditions: string[]) => (conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : '');
  const branches = [
    `SELECT toString(_partition_id) AS ${sourceColumn}, ${inner} FROM ${qualifiedName(table)}${where([...range, ...fences])} ${order}`,
  ];
  if (withTail)
    branches.push(`SELECT '' AS ${sourceColumn}, ${inner} FROM ${quoteName(tailName)}${where(range)} ${order}`);
  const sql = `SELECT ${[sourceColumn, ...plan.columns.map(quoteName)].join(', ')} FROM (
${branches.map((branch) => `(${branch})`).join('\nUNION ALL\n')}
) ${order} FORMAT JSONEachRow`;
  return { sql, params };
}
