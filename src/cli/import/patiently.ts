import { setTimeout as delay } from 'node:timers/promises';
import { TimestoreError } from '../../client/index.ts';
import { retryPause_ms } from '../retry-pause.ts';

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
      await delay(retryPause_ms(attempt, error), undefined, { signal: patience.signal });
    }
  }
}
