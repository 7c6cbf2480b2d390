import * as z from 'zod';
import type { ReadScope } from '../../query/execution/read-scope.ts';
import { arrayText } from '../../stores/clickhouse/parameter.ts';
import type { MonitoringDeps } from '../deps.ts';
import { checkInterval_ms } from '../resources/interval.ts';
import type { Service } from '../resources/service.ts';
import { statusCodes } from '../status.ts';
import { readTable } from './read-table.ts';

/** The newest row of a service, and its newest status other than unknown. Times are in milliseconds since 1970. */
export type Current = {
  statusCode: number;
  message: string | null;
  at_ms: number;
  responseTime_ms: number | null;
  known: { statusCode: number; at_ms: number } | null;
};

const currentRow = z.object({
  serviceId: z.string(),
  newest: z.tuple([z.number(), z.string().nullable(), z.number(), z.number().nullable()]),
  known: z.tuple([z.number(), z.number()]),
  isKnown: z.number(),
});

const day_ms = 86_400_000;

/** Intervals of a service after which its last status says nothing any more. */
export const staleIntervals = 3;

/**
 * The newest rows of services. A service without rows in the last week, or in its last four intervals, is missing. Rows of
 * the future do not count; equal times are ordered by receipt.
 *
 * @throws ApiError; StoreError
 */
export async function readCurrent(
  ctx: MonitoringDeps,
  reader: ReadScope,
  dataset: string,
  services: Pick<Service, 'serviceId' | 'statusConfig' | 'interval'>[],
  now_ms: number,
): Promise<Map<string, Current>> {
  if (services.length === 0) return new Map();
  const longest_ms = Math.max(7 * day_ms, ...services.map((service) => 4 * checkInterval_ms(service)));
  const order = '(timestamp, _received_at, _lane, _seq, _row)';
  const time = 'toFloat64(toUnixTimestamp64Milli(timestamp))';
  const rows = await readTable(ctx, {
    dataset,
    table: 'service_status',
    reader,
    columns: ['service_id', 'timestamp', 'status_code', 'message', 'response_time_ms'],
    where: [
      'service_id IN {ids:Array(String)}',
      'timestamp > fromUnixTimestamp64Milli({from:Int64})',
      'timestamp <= fromUnixTimestamp64Milli({now:Int64})',
    ],
    select: (source) => `
      SELECT service_id AS serviceId,
             argMax((status_code, message, ${time}, response_time_ms), ${order}) AS newest,
             argMaxIf((status_code, ${time}), ${order}, status_code != 5) AS known,
             max(status_code != 5) AS isKnown
        FROM ${source} GROUP BY service_id`,
    params: {
      param_ids: arrayText(services.map(({ serviceId }) => serviceId)),
      param_from: now_ms - longest_ms,
      param_now: now_ms,
    },
    schema: currentRow,
  });
  return new Map(
    rows.map(({ serviceId, newest: [statusCode, message, at_ms, responseTime_ms], known, isKnown }) => {
      const last = isKnown === 0 ? null : { statusCode: known[0], at_ms: known[1] };
      return [serviceId, { statusCode, message, at_ms, responseTime_ms, known: last }];
    }),
  );
}

/** The status of a service at a time: the last one that was known for three intervals, then unknown. */
export function effectiveStatus(
  service: Pick<Service, 'statusConfig' | 'interval'>,
  current: Current | undefined,
  now_ms: number,
): number {
  const known = current?.known ?? undefined;
  const isRecent = known !== undefined && now_ms - known.at_ms <= staleIntervals * checkInterval_ms(service);
  return isRecent ? known.statusCode : statusCodes.unknown;
}
