import { createClient, RESP_TYPES } from 'redis';
import type { Command } from './commands.ts';
import type { Reply } from './reply.ts';

/** One connection to Redis. Commands sent in one turn of the event loop are written at once, in their order. */
export type Connection = {
  send(command: Command): Promise<Reply>;
  close(): void;
};

export type Connections = {
  /** The connection that all requests share. */
  shared: Connection;
  /** Runs with a connection of its own, for commands that block their connection, such as WAIT. */
  withOwn<Result>(use: (connection: Connection) => Promise<Result>): Promise<Result>;
  close(): void;
};

const reconnectEveryMs = 50;

export function openConnections(url: string): Connections {
  const shared = openConnection(url);
  const idle: Connection[] = [];
  return {
    shared,
    async withOwn(use) {
      const own = idle.pop() ?? (await openReadyConnection(url));
      try {
        return await use(own);
      } finally {
        idle.push(own);
      }
    },
    close() {
      for (const connection of [shared, ...idle]) connection.close();
    },
  };
}

async function openReadyConnection(url: string): Promise<Connection> {
  const connection = openConnection(url);
  await connection.connected;
  return connection;
}

function openConnection(url: string): Connection & { connected: Promise<unknown> } {
  const client = createClient({
    url,
    RESP: 2,
    // A command is sent at once or fails at once. A command that waits until Redis is available again could run long
    // after its client's timeout. A command without an answer is never sent again: it may have run.
    disableOfflineQueue: true,
    disableClientInfo: true,
    socket: { noDelay: true, keepAlive: true, reconnectStrategy: () => reconnectEveryMs },
    commandOptions: {
      // The HTTP client decides how long to wait, and a timer for each command costs time.
      timeout: 0,
      typeMapping: {
        [RESP_TYPES.NUMBER]: String,
        [RESP_TYPES.SIMPLE_STRING]: Buffer,
        [RESP_TYPES.BLOB_STRING]: Buffer,
      },
    },
  });
  // Each failed attempt emits an event. The requests fail by themselves.
  client.on('error', () => undefined);
  const connected = client.connect();
  connected.catch(() => undefined);
  return {
    connected,
    send: (command) => client.sendCommand(command) as unknown as Promise<Reply>,
    close: () => client.destroy(),
  };
}
