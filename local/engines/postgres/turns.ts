import type { PGlite } from '@electric-sql/pglite';

/** What @electric-sql/pglite-socket's connection handler asks of its queue. */
export type TurnQueue = {
  enqueue(connection: number, message: Uint8Array, onData: (data: Uint8Array) => void): Promise<number>;
  clearQueueForHandler(connection: number): void;
  clearTransactionIfNeeded(connection: number): Promise<void>;
  getQueueLength(): number;
};

type Waiting = {
  connection: number;
  message: Uint8Array;
  onData: (data: Uint8Array) => void;
  resolve: (bytes: number) => void;
  reject: (error: Error) => void;
};

const readyForQuery = 'Z'.charCodeAt(0);
const idle = 'I'.charCodeAt(0);
const syncMessage = Uint8Array.of('S'.charCodeAt(0), 0, 0, 0, 4);

/**
 * PGlite is one Postgres session, and many connections share it. A connection has the session from its first message
 * until Postgres says that it is ready and in no transaction: neither transactions nor the messages of one query
 * (parse, bind, execute, sync) of two connections mix. The queue that the socket package brings takes turns by single
 * messages, and stands still for good after an error.
 */
export function takeTurns(db: PGlite): TurnQueue {
  let waiting: Waiting[] = [];
  let owner: number | undefined;
  let running = false;

  async function execute(message: Uint8Array, onData: (data: Uint8Array) => void): Promise<number> {
    let bytes = 0;
    let last = new Uint8Array(0);
    await db.runExclusive(() =>
      db.execProtocolRawStream(message, {
        onRawData: (data) => {
          bytes += data.length;
          last = data.length >= 6 ? data.slice(-6) : Uint8Array.of(...last, ...data).slice(-6);
          onData(data);
        },
      }),
    );
    if (last[0] === readyForQuery && last[4] === 5 && last[5] === idle) owner = undefined;
    return bytes;
  }

  async function run(): Promise<void> {
    if (running) return;
    running = true;
    for (;;) {
      const at = owner === undefined ? 0 : waiting.findIndex((item) => item.connection === owner);
      const [item] = at < 0 ? [] : waiting.splice(at, 1);
      if (!item) break;
      owner = item.connection;
      try {
        item.resolve(await execute(item.message, item.onData));
      } catch (error) {
        item.reject(error as Error);
      }
    }
    running = false;
  }

  return {
    enqueue: (connection, message, onData) =>
      new Promise((resolve, reject) => {
        waiting.push({ connection, message, onData, resolve, reject });
        void run();
      }),
    clearQueueForHandler(connection) {
      const dropped = waiting.filter((item) => item.connection === connection);
      waiting = waiting.filter((item) => item.connection !== connection);
      for (const item of dropped) item.reject(new Error('the connection is closed'));
    },
    /** A connection that went away in the middle of its turn leaves the session as it found it. */
    async clearTransactionIfNeeded(connection) {
      if (owner !== connection) return;
      // Ends a half-sent query, whose error state would swallow the ROLLBACK.
      await execute(syncMessage, () => undefined).catch(() => undefined);
      await db.exec('ROLLBACK').catch(() => undefined);
      owner = undefined;
      void run();
    },
    getQueueLength: () => waiting.length,
  };
}
