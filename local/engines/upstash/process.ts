import { once } from 'node:events';
import { serveEngine } from '../serve.ts';
import { openConnections } from './connections.ts';
import { upstashServer } from './server.ts';

export type UpstashOptions = { port: number; token: string; redisUrl: string };

serveEngine<UpstashOptions>(async ({ port, token, redisUrl }) => {
  const connections = openConnections(redisUrl);
  const server = upstashServer(connections, token);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    stop: () => {
      server.closeAllConnections();
      connections.close();
      return new Promise((closed) => server.close(() => closed()));
    },
  };
});
