import { Cron } from 'croner';
import { msOf } from './duration.ts';
import { selects } from './resources/common.ts';
import type { MaintenanceDefinition } from './resources/mutes.ts';
import type { Service } from './resources/service.ts';

/** A span of time in milliseconds since 1970. It contains its start and not its end. */
export type Window = { from_ms: number; until_ms: number };

/** Bounds the work for an expression that starts every second. */
const windows_max = 5_000;

/** The windows of a maintenance that overlap `[from_ms, until_ms)`, in order. Recurring ones may overlap each other. */
export function windowsWithin(definition: MaintenanceDefinition, from_ms: number, until_ms: number): Window[] {
  const { from, until, cron, duration, timeZone } = definition;
  if (cron === undefined || duration === undefined || timeZone === undefined) {
    const once = { from_ms: Date.parse(from ?? ''), until_ms: Date.parse(until ?? '') };
    return once.from_ms < until_ms && once.until_ms > from_ms ? [once] : [];
  }
  const length_ms = msOf(duration);
  const schedule = new Cron(cron, { timezone: timeZone });
  const found: Window[] = [];
  // A window that began up to its length ago still runs. The schedule gives starts after a time, so one second is subtracted.
  let start = schedule.nextRun(new Date(from_ms - length_ms - 1_000));
  while (start !== null && start.getTime() < until_ms && found.length < windows_max) {
    const start_ms = start.getTime();
    if (start_ms + length_ms > from_ms) found.push({ from_ms: start_ms, until_ms: start_ms + length_ms });
    start = schedule.nextRun(start);
  }
  return found;
}

/** Whether a maintenance window is open, a pure function of the instant. Its ends are exclusive. */
export function isOpen(window: MaintenanceDefinition, at_ms: number): boolean {
  return windowsWithin(window, at_ms, at_ms + 1).length > 0;
}

/** The window of a service among those that are open; undefined without one. */
export function maintenanceOf(
  open: (MaintenanceDefinition & { maintenanceId: string })[],
  service: Pick<Service, 'serviceId' | 'stack' | 'serviceType'>,
): string | undefined {
  return open.find(({ services }) => services.some((selector) => selects(selector, service)))?.maintenanceId;
}

/** The same time in windows that neither overlap nor touch, in order. */
export function mergedWindows(windows: Window[]): Window[] {
  const merged: Window[] = [];
  for (const { from_ms, until_ms } of windows.toSorted((a, b) => a.from_ms - b.from_ms)) {
    const last = merged.at(-1);
    if (last !== undefined && from_ms <= last.until_ms) last.until_ms = Math.max(last.until_ms, until_ms);
    else merged.push({ from_ms, until_ms });
  }
  return merged;
}
