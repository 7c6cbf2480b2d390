import * as z from 'zod';
import type { ReadScope } from '../../query/execution/read-scope.ts';
import { parameterText } from '../../stores/clickhouse/parameter.ts';
import type { MonitoringDeps } from '../deps.ts';
import { type AvailabilityRange, countAvailability, noSlots, type SlotCounts } from './availability.ts';
import { readTable } from './read-table.ts';
import type { SlotService } from './slots.ts';

/** Rows of a service in a part of a range. `counts` are by status code, 0 to 5. */
export type HistoryPart = {
  start_ms: number;
  rows: number;
  counts: number[];
  responseTime_ms: number | null;
  slots: SlotCounts;
};

const partRow = z.object({
  part: z.number(),
  rows: z.number(),
  counts: z.array(z.number()),
  responseTime_ms: z.number().nullable(),
});

/** The history of a service in parts of a range, those without rows too. Throws ApiError; StoreError. */
export async function readHistory(
  ctx: MonitoringDeps,
  reader: ReadScope,
  dataset: string,
  service: SlotService,
  range: AvailabilityRange & { every_ms: number },
): Promise<HistoryPart[]> {
  const [found, rows] = await Promise.all([
    countAvailability(ctx, reader, dataset, [service], range),
    readParts(ctx, reader, dataset, service, range),
  ]);
  const byPart = new Map(rows.map((row) => [row.part, row]));
  return [...(found.get(service.serviceId) ?? [])].map(([start_ms, slots]) => {
    const { rows: count, counts, responseTime_ms } = byPart.get(start_ms) ?? empty;
    return { start_ms, rows: count, counts, responseTime_ms, slots: slots ?? noSlots };
  });
}

const empty = { rows: 0, counts: [0, 0, 0, 0, 0, 0], responseTime_ms: null };

const codes = [0, 1, 2, 3, 4, 5].map((code) => `countIf(status_code = ${code})`).join(', ');

async function readParts(
  ctx: MonitoringDeps,
  reader: ReadScope,
  dataset: string,
  { serviceId }: SlotService,
  { from_ms, until_ms, now_ms, every_ms }: AvailabilityRange & { every_ms: number },
): Promise<z.output<typeof partRow>[]> {
  return await readTable(ctx, {
    dataset,
    table: 'service_status',
    reader,
    columns: ['service_id', 'timestamp', 'status_code', 'response_time_ms'],
    where: [
      'service_id = {id:String}',
      'timestamp >= fromUnixTimestamp64Milli({from:Int64})',
      'timestamp < fromUnixTimestamp64Milli({until:Int64})',
      'timestamp <= fromUnixTimestamp64Milli({now:Int64})',
    ],
    select: (source) => `
      SELECT toFloat64(greatest({from:Int64}, intDiv(toUnixTimestamp64Milli(timestamp), {every:Int64}) * {every:Int64})) AS part,
             count() AS rows,
             [${codes}] AS counts,
             round(avg(response_time_ms), 1) AS responseTime_ms
        FROM ${source} GROUP BY part`,
    params: {
      param_id: parameterText(serviceId),
      param_from: from_ms,
      param_until: until_ms,
      param_now: now_ms,
      param_every: every_ms,
    },
    schema: partRow,
  });
}
