import { setTimeout as delay } from 'node:timers/promises';

const pollEveryMs = 20;
const probeLimitMs = 5_000;

/** Probes an engine. Rejects when the engine does not work or when the signal aborts. */
export type Probe = (signal: AbortSignal) => Promise<void>;

/**
 * Probes until the engine answers. After the time limit it throws with the last failure as cause.
 *
 * @param probeMs time limit of one probe, so that a probe without an answer is repeated
 */
export async function waitUntilReady(
  probe: Probe,
  limitMs: number,
  signal: AbortSignal,
  probeMs = probeLimitMs,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    signal.throwIfAborted();
    try {
      await probe(AbortSignal.any([signal, AbortSignal.timeout(probeMs)]));
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
