import { setTimeout as delay } from 'node:timers/promises';
import { TimestoreError } from '../../client/index.ts';

const pause_ms = 500;
const pause_ms_max = 10_000;

export type Patience = {
  patienceMs: number;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
  /** Called with the reason of a wait, and with undefined after it. */
  onWait?: (why: string | undefined) => void;
};

/** Retries temporary failures with backoff, up to `patienceMs`. Throws the last error. */
export async function retry<Answer>(request: () => Promise<Answer>, patience: Patience): Promise<Answer> {
  const from = performance.now();
  for (let attempt = 0; ; attempt += 1) {
    try {
      const answer = await request();
      patience.onWait?.(undefined);
      return answer;
    } catch (error) {
      if (!(error instanceof TimestoreError) || !error.retryable) throw error;
      if (performance.now() - from >= patience.patienceMs) throw error;
      patience.onWait?.(error.message);
      const pause = Math.min(pause_ms_max, pause_ms * 2 ** attempt) * (0.5 + Math.random() / 2);
      await delay(Math.max(pause, error.retryAfterMs ?? 0), undefined, { signal: patience.signal });
    }
  }
}
