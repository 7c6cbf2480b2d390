/** What every engine process does: take its options, say when it is up, stop when told, and die with its parent. */

export type Served = {
  /** The process that is the engine, where it is not this one. */
  pid?: number | undefined;
  stop(): Promise<void>;
};

export type ToChild = { start: unknown } | { stop: true };
export type FromChild = { ready: true; pid: number } | { refused: string };

export function serveEngine<Options>(start: (options: Options) => Promise<Served>): void {
  // Ctrl-C reaches a whole process group. Only the parent may decide when an engine ends.
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGTERM'] as const) process.on(signal, () => undefined);
  // The channel closes when the parent ends, however it ends, SIGKILL included.
  process.on('disconnect', endGroup);
  // It may have ended already, while this process was still loading its code.
  if (!process.connected) endGroup();
  // And whatever ends this process while nobody watches it any more, must not leave what it has started.
  process.on('exit', () => {
    if (!process.connected) endGroup();
  });

  let served: Served | undefined;
  process.on('message', (message: ToChild) => {
    if ('start' in message) {
      start(message.start as Options).then(
        (engine) => {
          served = engine;
          tell({ ready: true, pid: engine.pid ?? process.pid });
        },
        (error: unknown) => {
          console.error(error);
          tell({ refused: error instanceof Error ? error.message : String(error) });
        },
      );
    } else if (served === undefined) {
      endGroup();
    } else {
      // Node's own way out would still wait for its compiler threads, up to a second; what had to be written is.
      served.stop().then(endGroup, (error: unknown) => {
        console.error(error);
        endGroup();
      });
    }
  });
}

function tell(message: FromChild): void {
  if (process.connected) process.send?.(message, () => undefined);
}

/**
 * Each engine process leads a group of its own, so that what it has started (redis-server, workerd) ends with it.
 * SIGKILL, since nothing must depend on a handler here: an engine survives that, or it is no store.
 */
function endGroup(): void {
  try {
    process.kill(-process.pid, 'SIGKILL');
  } catch {
    process.exit(1);
  }
}
