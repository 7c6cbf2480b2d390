import type { PGlite } from '@electric-sql/pglite';

/** The queue interface that the connection handler of @electric-sql/pglite-socket needs. */
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
 * PGlite is one Postgres session that many connections share. A connection owns the session from its first message until
 * Postgres reports that it is ready and in no transaction. So transactions and the messages of one query (parse, bind,
 * execute, sync) of two connections do not mix. The queue of the socket package switches after each message, and it stops
 * for good after an error.
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
      const index = owner === undefined ? 0 : waiting.findIndex((item) => item.connection === owner);
      const [item] = index < 0 ? [] : waiting.splice(index, 1);
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
    /** Restores the session after a connection that closed during its turn. */
    async clearTransactionIfNeeded(connection) {
      if (owner !== connection) return;
      // Ends a partly sent query: in its error state Postgres would ignore the ROLLBACK.
      await execute(syncMessage, () => undefined).catch(() => undefined);
      await db.exec('ROLLBACK').catch(() => undefined);
      owner = undefined;
      void run();
    },
    getQueueLength: () => waiting.length,
  };
}
