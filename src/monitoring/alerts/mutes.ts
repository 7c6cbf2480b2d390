import { windowsWithin } from '../maintenance-windows.ts';
import { selects } from '../resources/common.ts';
import type { MaintenanceDefinition, SilenceDefinition } from '../resources/mutes.ts';
import type { Service } from '../resources/service.ts';

type Maintenance = MaintenanceDefinition & { maintenanceId: string };
type Silence = SilenceDefinition & { silenceId: string };

/** Whether a maintenance window is open, a pure function of the instant. Its ends are exclusive. */
export function isOpen(window: MaintenanceDefinition, at_ms: number): boolean {
  return windowsWithin(window, at_ms, at_ms + 1).length > 0;
}

/** The window of a service among those that are open; undefined without one. */
export function maintenanceOf(
  open: Maintenance[],
  service: Pick<Service, 'serviceId' | 'stack' | 'serviceType'>,
): string | undefined {
  return open.find(({ services }) => services.some((selector) => selects(selector, service)))?.maintenanceId;
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
