import { setTimeout as delay } from 'node:timers/promises';

const pollEveryMs = 20;

/** Asks until the engine answers. The last refusal is the cause when the time is over. */
export async function waitUntilReady(ask: () => Promise<void>, limitMs: number, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    signal.throwIfAborted();
    try {
      await ask();
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
