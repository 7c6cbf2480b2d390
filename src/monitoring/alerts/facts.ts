import { findTable } from '../../catalog/find-table.ts';
import { quoteName } from '../../core/identifiers.ts';
import { executeRead, type Read } from '../../query/execution/execute-read.ts';
import { mergedTableSql } from '../../query/execution/merged-table-sql.ts';
import { takeReadSnapshot } from '../../query/execution/read-snapshot.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import { arrayText } from '../../stores/clickhouse/parameter.ts';
import type { MonitoringDeps } from '../deps.ts';
import { factColumns, type TablePlan } from './features.ts';

/** Facts by evaluation time and service: the values of a plan's expressions by name. */
export type Facts = Map<number, Map<string, Record<string, number | null>>>;

/**
 * The facts of a table at several times, over ClickHouse and the hot buffer together: every acknowledged row counts.
 *
 * @param times_ms of the evaluations, in ascending order
 * @throws ApiError `stale-read` and StoreError where not everything can be read
 */
export async function readFacts(
  ctx: MonitoringDeps,
  dataset: string,
  plan: TablePlan,
  times_ms: number[],
  signal: AbortSignal,
): Promise<Facts> {
  const facts: Facts = new Map(times_ms.map((time_ms) => [time_ms, new Map()]));
  const table = await findTable(ctx, dataset, plan.table);
  if (table === undefined) return facts;
  const { limits } = ctx.config;
  const strict = { consistency: 'strict' as const, maxStaleness_ms: 0, maxWait_ms: limits.query_wait_ms, required: [] };
  const snapshot = await takeReadSnapshot(ctx, table, strict);
  const columns = ['service_id', 'timestamp', ...factColumns[plan.table]].map(quoteName);
  const [first_ms = 0, last_ms = 0] = [times_ms.at(0), times_ms.at(-1)];
  const read: Read = {
    snapshots: [snapshot],
    buildStatement([source]) {
      if (source === undefined) throw new Error('a statement over one table has one source');
      const params: Settings = {
        param_from: first_ms - plan.lookback_ms,
        param_until: last_ms,
        param_times: `[${times_ms.join(',')}]`,
        ...(plan.serviceIds !== undefined && { param_services: arrayText(plan.serviceIds) }),
      };
      const rows = mergedTableSql(source, params, {
        columns: [...columns, '_received_at', '_lane', '_seq', '_row'],
        where: [
          ...(plan.serviceIds === undefined ? [] : ['service_id IN {services:Array(String)}']),
          'timestamp > fromUnixTimestamp64Milli({from:Int64})',
          'timestamp <= fromUnixTimestamp64Milli({until:Int64})',
        ],
      });
      const selected = [...plan.expressions].map(([name, sql]) => `${sql} AS ${name}`);
      const sql = `SELECT _e, service_id, ${selected.join(', ')}
        FROM (SELECT *, toUnixTimestamp64Milli(timestamp) AS at,
                     (timestamp, _received_at, _lane, _seq, _row) AS place FROM ${rows})
        ARRAY JOIN {times:Array(Int64)} AS _e
        WHERE at <= _e AND at > _e - ${plan.lookback_ms}
        GROUP BY _e, service_id`;
      return { sql, params };
    },
    format: 'ndjson',
    clickhouseFormat: 'JSONEachRow',
    rows_max: limits.query_rows_max,
    costKey: `monitoring ${dataset} ${plan.name}`,
    signal,
  };
  const { chunks } = await executeRead(ctx, read);
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(Uint8Array.from(chunk));
  for (const line of Buffer.concat(parts).toString().split('\n')) {
    if (line === '') continue;
    const { _e, service_id, ...values } = JSON.parse(line) as Record<string, unknown>;
    const known = Object.entries(values).map(([name, value]) => [name, numberOf(value)]);
    facts.get(Number(_e))?.set(String(service_id), Object.fromEntries(known));
  }
  return facts;
}

/** Null for NaN, which an average over no row is. */
function numberOf(value: unknown): number | null {
  if (value === null || value === undefined) return null;
  const number = Number(value);
  return Number.isNaN(number) ? null : number;
}
