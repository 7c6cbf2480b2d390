import { matchesGlob } from '../glob.ts';
import type { SilenceDefinition } from '../resources/mutes.ts';

type Silence = SilenceDefinition & { silenceId: string };

/** The silence that matches labels; undefined without one. */
export function silenceOf(silences: Silence[], labels: Record<string, string>, at_ms: number): string | undefined {
  const found = silences.find(({ from, until, matchers }) => {
    if (at_ms < Date.parse(from) || at_ms >= Date.parse(until)) return false;
    return matchers.every(({ label, op, value }) => {
      const has = labels[label] ?? '';
      if (op === '=' || op === '!=') return (has === value) === (op === '=');
      return matchesGlob(value, has) === (op === '=~');
    });
  });
  return found?.silenceId;
}
