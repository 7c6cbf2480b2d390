/** The wait after the failure number `attempt`, from 0: twice as long each time, up to `max_ms`. */
export function backoff_ms(attempt: number, first_ms: number, max_ms: number): number {
  return Math.min(max_ms, first_ms * 2 ** Math.min(attempt, 30));
}

/** A random part of a wait, at least its half, so that clients that failed together do not retry together. */
export function jitter_ms(wait_ms: number): number {
  return wait_ms * (0.5 + Math.random() / 2);
}
