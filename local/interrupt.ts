/** A request to end: a signal, or the end of the parent process. */
export type Interrupt = {
  readonly signal: AbortSignal;
  /** Rejects with an Interrupted at the first request. */
  readonly interrupted: Promise<never>;
};

export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

const burstMs = 500;

/**
 * Ctrl-C reaches this process from the terminal, and again from each parent that forwards the signal. So signals within
 * `burstMs` count as one request. A later signal ends this process at once; the engines then end themselves.
 */
export function listenForInterrupts(): Interrupt {
  const abort = new AbortController();
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  let firstAt: number | undefined;
  const interrupt = () => {
    if (firstAt !== undefined && performance.now() - firstAt < burstMs) return;
    if (firstAt !== undefined) process.exit(130);
    firstAt = performance.now();
    console.log('\nStopping … (press Ctrl-C again to end at once)');
    abort.abort();
    reject(new Interrupted());
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  // The parent has ended, so its terminal can no longer send Ctrl-C.
  process.on('disconnect', interrupt);
  // A closed output must not end this process before it has stopped the others.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  return { signal: abort.signal, interrupted: promise };
}
