import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { ErrorReply } from 'redis';
import { CommandError, commandFromPath, parseCommand, parseCommands } from './commands.ts';
import type { Connections } from './connections.ts';
import { runPipeline, runTransaction } from './execute.ts';
import { errorJson, type Reply, resultJson } from './reply.ts';

/** What the hosted service takes in a request and gives in a reply: https://upstash.com/docs/redis/troubleshooting/max_request_size_exceeded */
export const hostedBytesMax = 10 * 1024 * 1024;

type Answer = { status: number; json: string };

/**
 * Upstash's REST protocol on HTTP: https://upstash.com/docs/redis/features/restapi
 *
 * @param bytesMax of a request and of a reply. What is longer is refused in the words of the hosted service; a command whose
 *   reply is too long has run
 */
export function upstashServer(connections: Connections, token: string, bytesMax = hostedBytesMax): Server {
  const bearer = `Bearer ${token}`;
  const server = createServer((request, response) => {
    readBody(request, bytesMax).then(
      async (body) => {
        const result =
          typeof body === 'number' ? tooLarge(bytesMax, body) : await answer(connections, bearer, request, body);
        const bytes = Buffer.byteLength(result.json);
        send(response, bytes > bytesMax ? tooLarge(bytesMax, bytes) : result);
      },
      () => request.destroy(),
    );
  });
  // Clients keep their connections. An idle one that is closed just as a request leaves looks like a lost answer.
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
    if (path === '/pipeline') return list(await runPipeline(connections, parseCommands(body)), base64);
    if (path === '/multi-exec') return list(await runTransaction(connections, parseCommands(body)), base64);
    const command = path === '/' ? parseCommand(body) : commandFromPath(path, query, body);
    const [reply = null] = await runPipeline(connections, [command]);
    return { status: reply instanceof ErrorReply ? 400 : 200, json: resultJson(reply, base64) };
  } catch (error) {
    if (error instanceof CommandError || error instanceof ErrorReply) {
      return { status: 400, json: errorJson(error.message) };
    }
    const reason = error instanceof Error ? error.message : String(error);
    return { status: 503, json: errorJson(`ERR redis is away, the command may or may not have run: ${reason}`) };
  }
}

function tooLarge(limit: number, actual: number): Answer {
  const text = `ERR max request size exceeded. Limit: ${limit} bytes, Actual: ${actual} bytes`;
  return { status: 400, json: errorJson(text) };
}

function list(replies: Reply[], base64: boolean): Answer {
  return { status: 200, json: `[${replies.map((reply) => resultJson(reply, base64)).join(',')}]` };
}

const noQuery = new URLSearchParams();

function splitUrl(url: string): [path: string, query: URLSearchParams] {
  const at = url.indexOf('?');
  return at < 0 ? [url, noQuery] : [url.slice(0, at), new URLSearchParams(url.slice(at + 1))];
}

/** The length alone of one that is too long. */
function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer | number> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= bytesMax) chunks.push(chunk);
    });
    request.on('end', () => {
      if (size > bytesMax) resolve(size);
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
