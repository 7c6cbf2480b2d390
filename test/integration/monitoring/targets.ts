import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type SecureVersion } from 'node:tls';
import { afterAll, beforeAll } from 'vitest';
import { selfSigned } from './self-signed.ts';

const day_ms = 86_400_000;

/** Paths of the requests that a target has received, with their headers. */
export type Received = { path: string; method: string; headers: IncomingMessage['headers'] };

const answers: Record<string, (response: ServerResponse, request: IncomingMessage) => void> = {
  '/ok': (response) => response.end('fine'),
  '/json': (response) => response.end('{"status":"UP","items":[{"id":7}]}'),
  '/slow': (response) => setTimeout(() => response.end('fine'), 50),
  '/hang': () => undefined,
  '/reset': (response) => response.socket?.resetAndDestroy(),
  '/lies': (response) => {
    response.writeHead(200, { 'content-length': '1000' });
    response.write('short');
    setTimeout(() => response.socket?.destroy(), 20);
  },
  '/drip': (response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write('x'), 100);
    response.on('close', () => clearInterval(timer));
  },
  '/endless': (response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write('y'.repeat(20_000)), 5);
    response.on('close', () => clearInterval(timer));
  },
  '/522': (response) => response.writeHead(522).end('origin'),
  '/530': (response) => response.writeHead(530).end('origin'),
  '/503': (response) => response.writeHead(503).end('down'),
  '/to-ok': (response) => response.writeHead(302, { location: '/ok' }).end(),
  '/to-itself': (response) => response.writeHead(302, { location: '/to-itself' }).end(),
  '/to-private': (response) => response.writeHead(302, { location: 'http://10.0.0.1/' }).end(),
  '/to-nowhere': (response) => response.writeHead(302).end(),
};

/** Servers on this machine that answer in the ways in which services fail. */
export function useTargets() {
  const received: Received[] = [];
  const flaky = new Set<string>();
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  const ports = { http: 0, other: 0, tcp: 0, tls12: 0, tls13: 0, closed: 0 };

  async function listen(server: Server): Promise<number> {
    servers.push(server);
    server.on('connection', (socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  }

  const handle = (request: IncomingMessage, response: ServerResponse) => {
    const path = new URL(request.url ?? '', 'http://t').pathname;
    received.push({ path: request.url ?? '', method: request.method ?? '', headers: request.headers });
    if (path === '/to-other') response.writeHead(307, { location: `http://127.0.0.1:${ports.other}/ok` }).end();
    // The first request of each address fails.
    else if (path.startsWith('/flaky')) {
      response.writeHead(flaky.has(path) ? 200 : 503).end();
      flaky.add(path);
    } else (answers[path] ?? answers['/ok'])?.(response, request);
  };

  beforeAll(async () => {
    const pair = selfSigned(Date.now() - day_ms, Date.now() + 29 * day_ms);
    const tls = (version: SecureVersion) => {
      const options = { ...pair, minVersion: version, maxVersion: version };
      return createTlsServer(options, () => undefined).on('tlsClientError', () => undefined);
    };
    ports.http = await listen(createServer(handle));
    ports.other = await listen(createServer(handle));
    ports.tcp = await listen(createTcpServer(() => undefined));
    ports.tls12 = await listen(tls('TLSv1.2'));
    ports.tls13 = await listen(tls('TLSv1.3'));
    const closing = createTcpServer();
    ports.closed = await listen(closing);
    closing.close();
  });
  afterAll(() => {
    for (const socket of sockets) socket.destroy();
    for (const server of servers) server.close();
  });
  return { ports, received, url: (path: string) => `http://127.0.0.1:${ports.http}${path}`, sockets };
}
