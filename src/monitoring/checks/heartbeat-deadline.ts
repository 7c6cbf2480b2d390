import { Cron } from 'croner';
import { msOf } from '../duration.ts';
import type { CheckConfig } from '../resources/check.ts';

export type Heartbeat = Extract<CheckConfig, { check: 'heartbeat' }>;

/**
 * The time at which a heartbeat is missed, if no signal comes before it.
 *
 * - With a period: `grace` after a period without a signal.
 * - With a cron expression: `grace` after the first expected run that no signal satisfies. A signal satisfies runs up to `early`
 *   after it.
 * - A start that no other signal follows: `grace` after the start.
 *
 * @param lastSignal_ms the last success or failure, a sign of life both; null before the first one
 * @param lastStart_ms null before the first one
 * @param E_ms the time of the evaluation
 * @returns the deadline, null before the first signal; and whether it is over at `E_ms`
 */
export function heartbeatDeadline(
  config: Heartbeat,
  lastSignal_ms: number | null,
  lastStart_ms: number | null,
  E_ms: number,
): { deadline_ms: number | null; isMissed: boolean } {
  const grace_ms = msOf(config.grace);
  const deadlines: number[] = [];
  if (lastSignal_ms !== null) {
    const expected_ms = expectedAfter(config, lastSignal_ms);
    if (expected_ms !== null) deadlines.push(expected_ms + grace_ms);
  }
  if (lastStart_ms !== null && (lastSignal_ms === null || lastStart_ms > lastSignal_ms)) {
    deadlines.push(lastStart_ms + grace_ms);
  }
  if (deadlines.length === 0) return { deadline_ms: null, isMissed: false };
  const deadline_ms = Math.min(...deadlines);
  return { deadline_ms, isMissed: deadline_ms <= E_ms };
}

/** When the next signal after one is expected; null for a schedule that is over. */
function expectedAfter({ period, cron, timeZone, early }: Heartbeat, signal_ms: number): number | null {
  if (period !== undefined) return signal_ms + msOf(period);
  if (cron === undefined || timeZone === undefined) return null;
  return new Cron(cron, { timezone: timeZone }).nextRun(new Date(signal_ms + msOf(early)))?.getTime() ?? null;
}
