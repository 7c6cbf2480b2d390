import { mergedWindows, type Window, windowsWithin } from '../maintenance-windows.ts';
import { selects } from '../resources/common.ts';
import { checkInterval_ms } from '../resources/interval.ts';
import type { Service } from '../resources/service.ts';
import type { MonitorConfig } from '../resources/store.ts';

/** What availability needs to know of a service: how long its slots are, and when maintenance leaves them out. */
export type SlotService = { serviceId: string; interval_ms: number; maintenance: Window[] };

/** Services with the maintenance windows that overlap `[from_ms, until_ms)`. */
export function slotServices(
  config: MonitorConfig,
  services: Service[],
  from_ms: number,
  until_ms: number,
): SlotService[] {
  const windows = config.maintenances.map((maintenance) => ({
    maintenance,
    found: windowsWithin(maintenance, from_ms, until_ms),
  }));
  return services.map((service) => {
    const own = windows.filter(({ maintenance }) => maintenance.services.some((each) => selects(each, service)));
    return {
      serviceId: service.serviceId,
      interval_ms: checkInterval_ms(service),
      maintenance: mergedWindows(own.flatMap(({ found }) => found)),
    };
  });
}

/**
 * Counts the slots of a range that have ended, and those of them that maintenance leaves out. A slot belongs to the range
 * and to a maintenance window in which it begins.
 */
export function countSlots(
  { interval_ms, maintenance }: SlotService,
  range: { from_ms: number; until_ms: number },
  now_ms: number,
): { slots: number; maintenance: number } {
  const count = ({ from_ms, until_ms }: Window) => {
    // Beginnings at or after `from` and before `until`, of slots that end by now.
    const first = Math.ceil(Math.max(from_ms, range.from_ms) / interval_ms);
    const last = Math.min(
      Math.ceil(Math.min(until_ms, range.until_ms) / interval_ms) - 1,
      Math.floor(now_ms / interval_ms) - 1,
    );
    return Math.max(0, last - first + 1);
  };
  return { slots: count(range), maintenance: maintenance.reduce((sum, window) => sum + count(window), 0) };
}
