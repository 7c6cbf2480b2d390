import { setTimeout as delay } from 'node:timers/promises';

const pollEveryMs = 20;
const askLimitMs = 5_000;

/** Asks a question that only a working engine answers; rejects while it does not, or when the signal ends it. */
export type Ask = (signal: AbortSignal) => Promise<void>;

/**
 * Asks until the engine answers. The last refusal is the cause when the time is over.
 *
 * @param askMs for one question: one that is never answered must not be the last
 */
export async function waitUntilReady(
  ask: Ask,
  limitMs: number,
  signal: AbortSignal,
  askMs = askLimitMs,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    signal.throwIfAborted();
    try {
      await ask(AbortSignal.any([signal, AbortSignal.timeout(askMs)]));
      return;
    } catch (error) {
      if (performance.now() > deadline) {
        throw new Error(`no answer within ${limitMs} ms (last: ${describe(error)})`, { cause: error });
      }
    }
    await delay(pollEveryMs, undefined, { signal });
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
