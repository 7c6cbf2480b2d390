import { Cron } from 'croner';
import { msOf } from '../duration.ts';
import { selects } from '../resources/common.ts';
import type { MaintenanceDefinition, SilenceDefinition } from '../resources/mutes.ts';
import type { Service } from '../resources/service.ts';

type Maintenance = MaintenanceDefinition & { maintenanceId: string };
type Silence = SilenceDefinition & { silenceId: string };

/**
 * Whether a maintenance window is open. Its ends are exclusive. A pure function of the instant: the local time of a start is
 * looked up in its zone, and the duration is elapsed time.
 */
export function isOpen(window: MaintenanceDefinition, at_ms: number): boolean {
  return windowAt(window, at_ms) !== undefined;
}

/** The window that is open at an instant, in milliseconds. */
export function windowAt(
  window: MaintenanceDefinition,
  at_ms: number,
): { from_ms: number; until_ms: number } | undefined {
  const { from, until, cron, duration, timeZone } = window;
  if (cron === undefined || duration === undefined) {
    const [from_ms, until_ms] = [Date.parse(from ?? ''), Date.parse(until ?? '')];
    return from_ms <= at_ms && at_ms < until_ms ? { from_ms, until_ms } : undefined;
  }
  // The start that is not after the instant: `previousRuns` excludes its reference.
  const [start] = new Cron(cron, { timezone: timeZone ?? 'UTC' }).previousRuns(1, new Date(at_ms + 1));
  if (start === undefined) return undefined;
  const until_ms = start.getTime() + msOf(duration);
  return at_ms < until_ms ? { from_ms: start.getTime(), until_ms } : undefined;
}

/** The open maintenance window of a service; undefined without one. */
export function maintenanceOf(
  windows: Maintenance[],
  service: Pick<Service, 'serviceId' | 'stack' | 'serviceType'>,
  at_ms: number,
): string | undefined {
  const found = windows.find((window) => {
    return window.services.some((selector) => selects(selector, service)) && isOpen(window, at_ms);
  });
  return found?.maintenanceId;
}

/** The silence that matches labels; undefined without one. */
export function silenceOf(silences: Silence[], labels: Record<string, string>, at_ms: number): string | undefined {
  const found = silences.find(({ from, until, matchers }) => {
    if (at_ms < Date.parse(from) || at_ms >= Date.parse(until)) return false;
    return matchers.every(({ label, op, value }) => {
      const has = labels[label] ?? '';
      if (op === '=' || op === '!=') return (has === value) === (op === '=');
      return matchesGlob(has, value) === (op === '=~');
    });
  });
  return found?.silenceId;
}

/** `*` stands for any text. */
export function matchesGlob(text: string, glob: string): boolean {
  const [first = '', ...rest] = glob.split('*');
  if (rest.length === 0) return text === glob;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  const last = rest.pop() ?? '';
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}
