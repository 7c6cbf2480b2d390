import { ApiError } from '../../../src/core/errors.ts';
import type { Context } from '../../../src/create-context.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { queryTable } from '../../../src/query/execution/query-table.ts';
import { queryBody } from '../../../src/query/request/parse.ts';
import { querySql, sqlBody } from '../../../src/query/sql/run-sql.ts';
import { everyone, textOf } from '../../integration/support.ts';

export type Answer = {
  rows: Record<string, unknown>[];
  cursor?: string | null;
  streaming: { fresh: boolean };
  latest_ingest_watermark: string | null;
};

/** A way to one dataset: an instance of the functions, or the built Worker over HTTP. */
export type Door = {
  name: 'instance' | 'Worker';
  write(table: string, rows: object[], key: string): Promise<{ replayed: boolean; watermark: string }>;
  query(body: { tableName: string } & Record<string, unknown>): Promise<Answer>;
  sql(sql: string): Promise<Answer>;
};

/** No answer, or one that says that the request may succeed later. `code` as in the catalogue of errors. */
export class NotNow extends Error {
  readonly code: string;
  constructor(code: string, cause?: unknown) {
    super(code, { cause });
    this.code = code;
  }
}

/** There is no such table. */
export class NoTable extends Error {}

export function instanceDoor(ctx: Context, dataset: string): Door {
  const asked = { format: 'json' as const, signal: new AbortController().signal };
  const translated = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    try {
      return await work();
    } catch (error) {
      throw error instanceof ApiError ? translate(error.code, error) : error;
    }
  };
  return {
    name: 'instance',
    write: (table, rows, key) =>
      translated(async () => {
        const text = rows.map((row) => JSON.stringify(row)).join('\n');
        return (await ingestRows(ctx, { dataset, table, text, format: 'ndjson', idempotencyKey: key })).accepted;
      }),
    query: (body) =>
      translated(async () =>
        JSON.parse(await textOf(await queryTable(ctx, everyone, dataset, queryBody.parse(body), asked))),
      ),
    sql: (sql) =>
      translated(async () =>
        JSON.parse(await textOf(await querySql(ctx, everyone, sqlBody.parse({ sql, dataset }), asked))),
      ),
  };
}

export function workerDoor(url: string, dataset: string): Door {
  const post = async <Body>(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Body> => {
    const [status, text] = await fetch(`${url}${path}`, {
      method: 'POST',
      headers: { authorization: 'Bearer local-admin', 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    })
      .then(async (answer) => [answer.status, await answer.text()] as const)
      .catch((error) => {
        throw new NotNow('no answer', error);
      });
    const parsed = parse(text);
    // Of a runtime that ends, not of the API.
    if (parsed === undefined) throw new NotNow('no answer');
    if (status < 300) return parsed as Body;
    throw translate(
      String(parsed.type).replace('urn:timestore:', ''),
      new Error(`the Worker answered ${status}: ${text}`),
    );
  };
  return {
    name: 'Worker',
    write: (table, rows, key) => post(`/v1/datasets/${dataset}/tables/${table}/rows`, rows, { 'idempotency-key': key }),
    query: (body) => post(`/v1/datasets/${dataset}/query`, body),
    sql: (sql) => post('/v1/sql', { sql, dataset }),
  };
}

const notNow = new Set([
  'unavailable',
  'stale-read',
  'cursor-expired',
  'conflict',
  'internal',
  'buffer-full',
  'limit-exceeded',
]);

function translate(code: string, error: Error): Error {
  if (code === 'not-found') return new NoTable();
  return notNow.has(code) ? new NotNow(code, error) : error;
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
