import { backoff_ms, jitter_ms } from '../core/backoff.ts';

const pause_ms = 500;
const pause_ms_max = 10_000;

/** The pause after the failure number `attempt`, from 0, of a request to the API: at least what its answer asks for. */
export function retryPause_ms(attempt: number, { retryAfterMs = 0 }: { retryAfterMs?: number | undefined }): number {
  return Math.max(jitter_ms(backoff_ms(attempt, pause_ms, pause_ms_max)), retryAfterMs);
}
