import * as z from 'zod';
import type { ReadScope } from '../../query/execution/read-scope.ts';
import { arrayText } from '../../stores/clickhouse/parameter.ts';
import type { MonitoringDeps } from '../deps.ts';
import type { Window } from '../maintenance-windows.ts';
import { readTable } from './read-table.ts';
import { countSlots, type SlotService } from './slots.ts';

/** Slots of a range: `good` and `bad` ones are known. `all` are those that have ended, without those in maintenance. */
export type SlotCounts = { good: number; bad: number; all: number; maintenance: number };

export const noSlots: SlotCounts = { good: 0, bad: 0, all: 0, maintenance: 0 };

export function addCounts(a: SlotCounts, b: SlotCounts): SlotCounts {
  return {
    good: a.good + b.good,
    bad: a.bad + b.bad,
    all: a.all + b.all,
    maintenance: a.maintenance + b.maintenance,
  };
}

/**
 * Good slots in percent of the known ones, and known slots in percent of all. Both are rounded down to three decimals, so
 * that 100 means all of them. Null: unknown, because no slot is known, or none has ended.
 */
export function availabilityOf({ good, bad, all }: SlotCounts): {
  availability: number | null;
  coverage: number | null;
} {
  return { availability: percentDown(good, good + bad), coverage: percentDown(good + bad, all) };
}

/** A share in percent with three decimals, rounded down. Null for a share of nothing. */
export function percentDown(part: number, whole: number): number | null {
  return whole === 0 ? null : Math.floor((part * 100_000) / whole) / 1_000;
}

/** A percentage for people, with two decimals, rounded down: 99.996 is 99.99. */
export function percentText(percent: number): string {
  // 99.97 * 100 is 9996.999…; the percentages of `percentDown` have three decimals.
  return `${(Math.floor(Math.round(percent * 1_000) / 10) / 100).toFixed(2)}%`;
}

/** Which rows are good: those with the codes 0 and 1 or 0 alone, or the ones faster than a limit. */
export type Indicator = { degradedIsGood: boolean; below_ms?: number | undefined };

export const availabilityIndicator: Indicator = { degradedIsGood: true };

/** SQL of a row's being bad, and of its being good. The other rows say nothing. */
function indicatorSql({ degradedIsGood, below_ms }: Indicator): { good: string; bad: string } {
  if (below_ms !== undefined) {
    const isMeasured = 'status_code IN (0, 1) AND response_time_ms IS NOT NULL';
    return {
      good: `(${isMeasured} AND response_time_ms < ${below_ms})`,
      bad: `(status_code = 2 OR (${isMeasured} AND response_time_ms >= ${below_ms}))`,
    };
  }
  const [good, bad] = degradedIsGood ? ['0, 1', '2'] : ['0', '1, 2'];
  return { good: `status_code IN (${good})`, bad: `status_code IN (${bad})` };
}

export type AvailabilityRange = {
  from_ms: number;
  until_ms: number;
  /** The time of the answer. Rows after it do not count. */
  now_ms: number;
  /** Length of the parts of the range in milliseconds, which begin at its multiples; undefined: one part. */
  every_ms?: number | undefined;
};

const countRow = z.object({ serviceId: z.string(), part: z.number(), good: z.number(), bad: z.number() });

/** Counts of a service in the parts of a range, by the start of the part. */
export type ServiceCounts = Map<string, Map<number, SlotCounts>>;

/**
 * Counts the slots of services. Rows of one slot count once; the slot is bad if any of them is. A slot belongs to the part
 * in which it begins.
 *
 * @throws ApiError; StoreError
 */
export async function countAvailability(
  ctx: MonitoringDeps,
  reader: ReadScope,
  dataset: string,
  services: SlotService[],
  range: AvailabilityRange,
  indicator: Indicator = availabilityIndicator,
): Promise<ServiceCounts> {
  const parts = partsOf(range);
  const found = services.length === 0 ? [] : await readCounts(ctx, reader, dataset, services, range, indicator);
  const byPart = new Map(found.map((row) => [`${row.part} ${row.serviceId}`, row]));
  return new Map(
    services.map((service) => {
      const counts = parts.map((part): [number, SlotCounts] => {
        const { good = 0, bad = 0 } = byPart.get(`${part.from_ms} ${service.serviceId}`) ?? {};
        const { slots, maintenance } = countSlots(service, part, range.now_ms);
        // The slot that has not ended counts once it has a row.
        return [part.from_ms, { good, bad, all: Math.max(slots - maintenance, good + bad), maintenance }];
      });
      return [service.serviceId, new Map(counts)];
    }),
  );
}

/** The sum over the parts of a service. */
export function totalOf(counts: Map<number, SlotCounts> | undefined): SlotCounts {
  return [...(counts?.values() ?? [])].reduce(addCounts, noSlots);
}

function partsOf({ from_ms, until_ms, every_ms }: AvailabilityRange): Window[] {
  if (every_ms === undefined) return [{ from_ms, until_ms }];
  const parts: Window[] = [];
  for (let start_ms = from_ms; start_ms < until_ms; ) {
    const next_ms = (Math.floor(start_ms / every_ms) + 1) * every_ms;
    parts.push({ from_ms: start_ms, until_ms: Math.min(next_ms, until_ms) });
    start_ms = next_ms;
  }
  return parts;
}

async function readCounts(
  ctx: MonitoringDeps,
  reader: ReadScope,
  dataset: string,
  services: SlotService[],
  { from_ms, until_ms, now_ms, every_ms }: AvailabilityRange,
  indicator: Indicator,
): Promise<z.output<typeof countRow>[]> {
  const { good, bad } = indicatorSql(indicator);
  const longest_ms = Math.max(...services.map(({ interval_ms }) => interval_ms));
  // Services in the same maintenance share its bounds. Position 1 is of those without any.
  const boundsOf = ({ maintenance }: SlotService) =>
    JSON.stringify(maintenance.flatMap((window) => [window.from_ms, window.until_ms]));
  const bounds = [...new Set(['[]', ...services.map(boundsOf)])];
  const at = (name: string, type: string, otherwise: number) =>
    `transform(service_id, {ids:Array(String)}, {${name}:Array(${type})}, to${type}(${otherwise}))`;
  const part =
    every_ms === undefined ? '{from:Int64}' : `greatest({from:Int64}, intDiv(start_ms, {every:Int64}) * {every:Int64})`;
  return await readTable(ctx, {
    dataset,
    table: 'service_status',
    reader,
    columns: [
      'service_id',
      'timestamp',
      'status_code',
      ...(indicator.below_ms === undefined ? [] : ['response_time_ms']),
    ],
    where: [
      'service_id IN {ids:Array(String)}',
      'timestamp >= fromUnixTimestamp64Milli({from:Int64})',
      // The last slot of the range may end after it.
      'timestamp < fromUnixTimestamp64Milli({end:Int64})',
      'timestamp <= fromUnixTimestamp64Milli({now:Int64})',
    ],
    select: (rows) => `
      SELECT service_id AS serviceId, toFloat64(${part}) AS part, countIf(is_bad) AS bad, countIf(is_good AND NOT is_bad) AS good
        FROM (SELECT service_id, ${at('intervals', 'Int64', 60_000)} AS length_ms,
                     intDiv(toUnixTimestamp64Milli(timestamp), length_ms) * length_ms AS start_ms,
                     max(${bad}) AS is_bad, max(${good}) AS is_good
                FROM ${rows} GROUP BY service_id, start_ms, length_ms)
       WHERE start_ms >= {from:Int64} AND start_ms < {until:Int64}
         AND arrayCount(bound -> bound <= start_ms,
               arrayElement({bounds:Array(Array(Int64))}, ${at('positions', 'UInt32', 1)})) % 2 = 0
       GROUP BY service_id, part`,
    params: {
      param_ids: arrayText(services.map(({ serviceId }) => serviceId)),
      param_intervals: arrayText(
        services.map(({ interval_ms }) => String(interval_ms)),
        true,
      ),
      param_positions: arrayText(
        services.map((service) => String(bounds.indexOf(boundsOf(service)) + 1)),
        true,
      ),
      param_bounds: arrayText(bounds, true),
      param_from: from_ms,
      param_until: until_ms,
      param_end: until_ms + longest_ms,
      param_now: now_ms,
      ...(every_ms !== undefined && { param_every: every_ms }),
    },
    schema: countRow,
  });
}
