/** The wish to end, however it comes. */
export type Interrupt = {
  readonly signal: AbortSignal;
  /** Rejects at the wish with an Interrupted. */
  readonly wished: Promise<never>;
};

export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

const burstMs = 500;

/**
 * Ctrl-C reaches this process from the terminal and once more from each program above it that passes it on, so what
 * comes within a moment is one wish. A later one ends at once: the engines end themselves when this process is gone.
 */
export function listenForInterrupts(): Interrupt {
  const abort = new AbortController();
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  let firstAt: number | undefined;
  const wish = () => {
    if (firstAt !== undefined && performance.now() - firstAt < burstMs) return;
    if (firstAt !== undefined) process.exit(130);
    firstAt = performance.now();
    console.log('\nStopping … (Ctrl-C again ends at once)');
    abort.abort();
    reject(new Interrupted());
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, wish);
  // The program that started this one is gone, and with it whoever could press Ctrl-C.
  process.on('disconnect', wish);
  // Nobody reads any more: writing on must not end this process before it has stopped the others.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  return { signal: abort.signal, wished: promise };
}
