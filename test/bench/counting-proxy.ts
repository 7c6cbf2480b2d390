import { Agent, createServer, request, type Server } from 'node:http';

/**
 * What went through: requests, and for the hot buffer the commands in them, each of which the hosted service bills; and the
 * bytes of the longest request and of the longest reply.
 */
export type Counts = { requests: number; commands: number; requestBytesMax: number; replyBytesMax: number };

const none: Counts = { requests: 0, commands: 0, requestBytesMax: 0, replyBytesMax: 0 };

export type CountingProxy = { url: string; take(): Counts; stop(): Promise<void> };

/** Passes everything on to `target` and counts it, each request once `before` lets it go. */
export async function startCountingProxy(
  target: string,
  before: () => Promise<void> = async () => {},
): Promise<CountingProxy> {
  let counts: Counts = { ...none };
  const agent = new Agent({ keepAlive: true });
  const to = new URL(target);
  const server: Server = createServer((incoming, outgoing) => {
    const parts: Buffer[] = [];
    incoming.on('data', (part) => parts.push(part));
    incoming.on('end', async () => {
      const body = Buffer.concat(parts);
      counts.requests += 1;
      counts.commands += commandsIn(incoming.url ?? '/', body);
      counts.requestBytesMax = Math.max(counts.requestBytesMax, body.length);
      await before();
      const passed = request(
        {
          agent,
          host: to.hostname,
          port: to.port,
          path: incoming.url,
          method: incoming.method,
          headers: incoming.headers,
        },
        (answer) => {
          let bytes = 0;
          answer.on('data', (part: Buffer) => {
            bytes += part.length;
            counts.replyBytesMax = Math.max(counts.replyBytesMax, bytes);
          });
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(outgoing);
        },
      );
      passed.on('error', () => outgoing.destroy());
      passed.end(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    url: `http://127.0.0.1:${address.port}${to.pathname === '/' ? '' : to.pathname}`,
    take() {
      const taken = counts;
      counts = { ...none };
      return taken;
    },
    async stop() {
      server.closeAllConnections();
      agent.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A pipeline has as many commands as its list; any other request has one. */
function commandsIn(path: string, body: Buffer): number {
  return path === '/pipeline' || path === '/multi-exec' ? (JSON.parse(body.toString()) as unknown[]).length : 1;
}
