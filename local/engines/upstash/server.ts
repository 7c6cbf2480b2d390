import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { ErrorReply } from 'redis';
import { CommandError, commandFromPath, parseCommand, parseCommands } from './commands.ts';
import type { Connections } from './connections.ts';
import { runPipeline, runTransaction } from './execute.ts';
import { errorJson, type Reply, resultJson } from './reply.ts';

/** Maximum size of a request and of a reply in the hosted service: https://upstash.com/docs/redis/troubleshooting/max_request_size_exceeded */
export const hostedBytes_max = 10 * 1024 * 1024;

type Answer = { status: number; json: string };

/**
 * Upstash's REST protocol on HTTP: https://upstash.com/docs/redis/features/restapi
 *
 * @param bytes_max maximum size of a request and of a reply. Larger ones fail with the hosted service's message; a command
 *   with a reply that is too large has run
 */
export function upstashServer(connections: Connections, token: string, bytes_max = hostedBytes_max): Server {
  const bearer = `Bearer ${token}`;
  const server = createServer((request, response) => {
    readBody(request, bytes_max).then(
      async (body) => {
        const result =
          typeof body === 'number' ? tooLarge(bytes_max, body) : await answer(connections, bearer, request, body);
        const bytes = Buffer.byteLength(result.json);
        send(response, bytes > bytes_max ? tooLarge(bytes_max, bytes) : result);
      },
      () => request.destroy(),
    );
  });
  // Clients keep their connections. Closing an idle one while a request is sent looks like a lost answer.
  server.keepAliveTimeout = 120_000;
  server.requestTimeout = 0;
  return server;
}

async function answer(
  connections: Connections,
  bearer: string,
  request: IncomingMessage,
  body: Buffer,
): Promise<Answer> {
  const url = request.url ?? '/';
  const [path, query] = splitUrl(url);
  if (request.headers.authorization !== bearer && `Bearer ${query.get('_token')}` !== bearer) {
    return { status: 401, json: errorJson('WRONGPASS invalid or missing auth token') };
  }
  if (!['GET', 'HEAD', 'POST', 'PUT'].includes(request.method ?? '')) {
    return { status: 405, json: errorJson(`ERR method ${request.method} is not allowed`) };
  }
  const format = request.headers['upstash-response-format'] ?? 'json';
  if (format !== 'json') return { status: 400, json: errorJson(`ERR response format ${format} is not served here`) };
  const base64 = request.headers['upstash-encoding'] === 'base64';
  try {
    if (path === '/pipeline') return listAnswer(await runPipeline(connections, parseCommands(body)), base64);
    if (path === '/multi-exec') return listAnswer(await runTransaction(connections, parseCommands(body)), base64);
    const command = path === '/' ? parseCommand(body) : commandFromPath(path, query, body);
    const [reply = null] = await runPipeline(connections, [command]);
    return { status: reply instanceof ErrorReply ? 400 : 200, json: resultJson(reply, base64) };
  } catch (error) {
    if (error instanceof CommandError || error instanceof ErrorReply) {
      return { status: 400, json: errorJson(error.message) };
    }
    const reason = error instanceof Error ? error.message : String(error);
    return { status: 503, json: errorJson(`ERR redis is unavailable, the command may or may not have run: ${reason}`) };
  }
}

function tooLarge(limit: number, actual: number): Answer {
  const text = `ERR max request size exceeded. Limit: ${limit} bytes, Actual: ${actual} bytes`;
  return { status: 400, json: errorJson(text) };
}

function listAnswer(replies: Reply[], base64: boolean): Answer {
  return { status: 200, json: `[${replies.map((reply) => resultJson(reply, base64)).join(',')}]` };
}

const noQuery = new URLSearchParams();

function splitUrl(url: string): [path: string, query: URLSearchParams] {
  const index = url.indexOf('?');
  return index < 0 ? [url, noQuery] : [url.slice(0, index), new URLSearchParams(url.slice(index + 1))];
}

/** The body, or only its length when it is too long. */
function readBody(request: IncomingMessage, bytes_max: number): Promise<Buffer | number> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= bytes_max) chunks.push(chunk);
    });
    request.on('end', () => {
      if (size > bytes_max) resolve(size);
      else resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
    });
    request.on('error', reject);
  });
}

function send(response: ServerResponse, { status, json }: Answer): void {
  const bytes = Buffer.byteLength(json);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes });
  response.end(json);
}
