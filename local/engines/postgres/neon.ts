import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { text } from 'node:stream/consumers';
import { DatabaseError, type Pool } from 'pg';
import { type BatchOptions, isIsolationLevel, type NeonQuery, runBatch, runSingle } from './batch.ts';

export type Login = { user: string; password: string; database: string };

type Answer = { status: number; body: unknown };

/** The fields that Neon's driver copies from an error, by their names in the driver. */
const errorFields = [
  'severity',
  'code',
  'detail',
  'hint',
  'position',
  'internalPosition',
  'internalQuery',
  'where',
  'schema',
  'table',
  'column',
  'dataType',
  'constraint',
  'file',
  'line',
  'routine',
] as const;

class RequestError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Neon's SQL over HTTP, as @neondatabase/serverless speaks it: `POST /sql`. */
export function neonServer(pool: Pool, login: Login): Server {
  const server = createServer(async (request, response) => {
    const { status, body } =
      request.method === 'POST' && request.url === '/sql'
        ? await answer(pool, login, request.headers, await text(request))
        : { status: 404, body: { message: 'only POST /sql is served here' } };
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  server.keepAliveTimeout = 120_000;
  return server;
}

async function answer(pool: Pool, login: Login, headers: IncomingHttpHeaders, body: string): Promise<Answer> {
  try {
    requireLogin(String(headers['neon-connection-string'] ?? ''), login);
    requireRawArrays(headers);
    const request = parseRequest(body);
    if ('queries' in request) {
      return { status: 200, body: { results: await runBatch(pool, request.queries, batchOptions(headers)) } };
    }
    return { status: 200, body: await runSingle(pool, request) };
  } catch (error) {
    return errorAnswer(error);
  }
}

function errorAnswer(error: unknown): Answer {
  if (error instanceof DatabaseError) {
    const fields = error as unknown as Record<string, unknown>;
    return {
      status: 400,
      body: { message: error.message, ...Object.fromEntries(errorFields.map((name) => [name, fields[name] ?? null])) },
    };
  }
  if (error instanceof RequestError) {
    return { status: 400, body: { message: error.message, code: error.code, severity: 'ERROR' } };
  }
  return {
    status: 503,
    body: { message: `postgres is unavailable: ${error instanceof Error ? error.message : error}` },
  };
}

function requireLogin(connectionString: string, login: Login): void {
  const url = URL.canParse(connectionString) ? new URL(connectionString) : undefined;
  const user = decodeURIComponent(url?.username ?? '');
  if (!url || user !== login.user || decodeURIComponent(url.password) !== login.password) {
    throw new RequestError('28P01', `password authentication failed for user '${user}'`);
  }
  const database = decodeURIComponent(url.pathname.slice(1));
  if (database !== login.database) throw new RequestError('3D000', `database "${database}" does not exist`);
}

/** The driver always sends these two headers. Other result formats are rejected, because no test covers them. */
function requireRawArrays(headers: IncomingHttpHeaders): void {
  for (const name of ['neon-raw-text-output', 'neon-array-mode']) {
    if (headers[name] !== 'true') throw new RequestError('0A000', `only requests with ${name}: true are served here`);
  }
}

function parseRequest(body: string): NeonQuery | { queries: NeonQuery[] } {
  let request: unknown;
  try {
    request = JSON.parse(body);
  } catch {
    throw new RequestError('08P01', 'the body is not JSON');
  }
  if (isQuery(request)) return request;
  const { queries } = (request ?? {}) as { queries?: unknown };
  if (Array.isArray(queries) && queries.every(isQuery)) return { queries };
  throw new RequestError('08P01', 'the body must be {query, params} or {queries: [{query, params}]}');
}

function isQuery(value: unknown): value is NeonQuery {
  const { query, params } = (value ?? {}) as { query?: unknown; params?: unknown };
  return typeof query === 'string' && (params === undefined || Array.isArray(params));
}

function batchOptions(headers: IncomingHttpHeaders): BatchOptions {
  const level = headers['neon-batch-isolation-level'];
  if (level !== undefined && !(typeof level === 'string' && isIsolationLevel(level))) {
    throw new RequestError('22023', `unknown isolation level ${level}`);
  }
  return {
    ...(level !== undefined && { isolationLevel: level }),
    readOnly: headers['neon-batch-read-only'] === 'true',
    deferrable: headers['neon-batch-deferrable'] === 'true',
  };
}
