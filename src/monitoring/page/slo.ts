import type { ReadScope } from '../../query/execution/read-scope.ts';
import type { MonitoringDeps } from '../deps.ts';
import { msOf } from '../duration.ts';
import type { SloDefinition } from '../resources/page.ts';
import type { MonitorConfig } from '../resources/store.ts';
import { availabilityOf, countAvailability, type Indicator, type SlotCounts, totalOf } from './availability.ts';
import { slotServices } from './slots.ts';

/**
 * The multi-window burn rates of the SRE workbook (https://sre.google/workbook/alerting-on-slos/): how many times faster
 * than allowed the budget is used. Both windows must exceed the factor; the short one ends the alert soon after its cause.
 */
export const burnWindows = [
  { severity: 'page', factor: 14.4, long: '1h', short: '5m' },
  { severity: 'page', factor: 6, long: '6h', short: '30m' },
  { severity: 'ticket', factor: 1, long: '3d', short: '6h' },
] as const;

export type BurnSeverity = (typeof burnWindows)[number]['severity'];

type Spent = Pick<SlotCounts, 'good' | 'bad'>;

/** How many times faster than allowed a window uses the budget of a target in percent. Null: the window has no known slot. */
export function burnRate(target: number, { good, bad }: Spent): number | null {
  if (good + bad === 0) return null;
  return bad / (good + bad) / (1 - target / 100);
}

/**
 * Whether a pair of windows burns. A burn needs `minBad` bad slots in the long window too: with a check a minute, one
 * failure in an hour alone is 16.7 times the rate that 99.9 % allows.
 */
export function isBurning(
  { target, minBad }: Pick<SloDefinition, 'target' | 'minBad'>,
  factor: number,
  { long, short }: { long: Spent; short: Spent },
): boolean {
  if (long.bad < minBad) return false;
  return [long, short].every((window) => (burnRate(target, window) ?? 0) >= factor);
}

/**
 * The error budget of a window, in slots. `left` is the share that is left, negative once the target is missed. The
 * allowance is that of the whole window: missing rows use none of it.
 */
export function budgetOf(target: number, { bad, all }: Pick<SlotCounts, 'bad' | 'all'>) {
  const allowed = all * (1 - target / 100);
  return { allowed, spent: bad, left: allowed === 0 ? null : 1 - bad / allowed };
}

export type SloReport = {
  sloId: string;
  serviceId: string;
  target: number;
  window: SloDefinition['window'];
  availability: number | null;
  coverage: number | null;
  budget: ReturnType<typeof budgetOf>;
  burnRates: {
    severity: BurnSeverity;
    factor: number;
    long: { window: string; rate: number | null; bad: number };
    short: { window: string; rate: number | null; bad: number };
    isBurning: boolean;
  }[];
};

/** Reports an SLO at a time. Undefined if its service does not exist. Throws ApiError; StoreError. */
export async function reportSlo(
  ctx: MonitoringDeps,
  reader: ReadScope,
  dataset: string,
  config: MonitorConfig,
  { slo, now_ms }: { slo: MonitorConfig['slos'][number]; now_ms: number },
): Promise<SloReport | undefined> {
  const service = config.services.get(slo.serviceId);
  if (service === undefined) return undefined;
  const windows = [...new Set<string>([slo.window, ...burnWindows.flatMap(({ long, short }) => [long, short])])];
  const counts = new Map(
    await Promise.all(
      windows.map(async (window): Promise<[string, SlotCounts]> => {
        const range = { from_ms: now_ms - msOf(window), until_ms: now_ms, now_ms };
        const services = slotServices(config, [service], range.from_ms, range.until_ms);
        const found = await countAvailability(ctx, reader, dataset, services, range, indicatorOf(slo));
        return [window, totalOf(found.get(service.serviceId))];
      }),
    ),
  );
  const of = (window: string) => counts.get(window) ?? totalOf(undefined);
  const whole = of(slo.window);
  return {
    sloId: slo.sloId,
    serviceId: slo.serviceId,
    target: slo.target,
    window: slo.window,
    ...availabilityOf(whole),
    budget: budgetOf(slo.target, whole),
    burnRates: burnWindows.map(({ severity, factor, long, short }) => {
      const both = { long: of(long), short: of(short) };
      const seen = (window: string, spent: Spent) => ({ window, rate: burnRate(slo.target, spent), bad: spent.bad });
      return {
        severity,
        factor,
        long: seen(long, both.long),
        short: seen(short, both.short),
        isBurning: isBurning(slo, factor, both),
      };
    }),
  };
}

function indicatorOf({ indicator }: SloDefinition): Indicator {
  if (indicator.kind === 'availability') return { degradedIsGood: indicator.degradedIsGood };
  return { degradedIsGood: true, below_ms: indicator.below_ms };
}
