/** The protocol of engine processes: receive options, report when up, stop on a message, end with the parent. */

export type Served = {
  /** The engine's process, if it is not this one. */
  pid?: number | undefined;
  stop(): Promise<void>;
};

export type ToChild = { start: unknown } | { stop: true };
export type FromChild = { ready: true; pid: number } | { failure: string };

export function serveEngine<Options>(start: (options: Options) => Promise<Served>): void {
  // Ctrl-C reaches a whole process group. Only the parent may decide when an engine ends.
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGTERM'] as const) process.on(signal, () => undefined);
  // The channel closes when the parent ends for any reason, including SIGKILL.
  process.on('disconnect', endGroup);
  // The parent may have ended already, while this process was loading its code.
  if (!process.connected) endGroup();
  // Without a parent, the end of this process must not leave child processes behind.
  process.on('exit', () => {
    if (!process.connected) endGroup();
  });

  let served: Served | undefined;
  process.on('message', (message: ToChild) => {
    if ('start' in message) {
      start(message.start as Options).then(
        (engine) => {
          served = engine;
          report({ ready: true, pid: engine.pid ?? process.pid });
        },
        (error: unknown) => {
          console.error(error);
          report({ failure: error instanceof Error ? error.message : String(error) });
        },
      );
    } else if (served === undefined) {
      endGroup();
    } else {
      // All data is written by now. A normal exit of Node.js could wait up to a second for its compiler threads.
      served.stop().then(endGroup, (error: unknown) => {
        console.error(error);
        endGroup();
      });
    }
  });
}

function report(message: FromChild): void {
  if (process.connected) process.send?.(message, () => undefined);
}

/**
 * Each engine process leads a group of its own, so its child processes (redis-server, workerd) end with it. SIGKILL works
 * without a handler in the child; an engine must not lose data by it.
 */
function endGroup(): void {
  try {
    process.kill(-process.pid, 'SIGKILL');
  } catch {
    process.exit(1);
  }
}
