import type { Pool, PoolClient, QueryArrayConfig, QueryArrayResult } from 'pg';

export type NeonQuery = { query: string; params?: unknown[] };

export type BatchOptions = {
  isolationLevel?: 'ReadUncommitted' | 'ReadCommitted' | 'RepeatableRead' | 'Serializable';
  readOnly: boolean;
  deferrable: boolean;
};

export type NeonResult = {
  command: string;
  rowCount: number | null;
  rows: (string | null)[][];
  fields: QueryArrayResult['fields'];
  rowAsArray: true;
};

const isolationSql = {
  ReadUncommitted: 'READ UNCOMMITTED',
  ReadCommitted: 'READ COMMITTED',
  RepeatableRead: 'REPEATABLE READ',
  Serializable: 'SERIALIZABLE',
} as const;

export function isIsolationLevel(text: string): text is keyof typeof isolationSql {
  return Object.hasOwn(isolationSql, text);
}

/** One query in a transaction of its own, as Postgres does without BEGIN. */
export function runSingle(pool: Pool, query: NeonQuery): Promise<NeonResult> {
  return withClient(pool, [query], (client) => runQuery(client, query));
}

/** All queries in one transaction. */
export function runBatch(pool: Pool, queries: NeonQuery[], options: BatchOptions): Promise<NeonResult[]> {
  const begin = [
    'BEGIN',
    options.isolationLevel && `ISOLATION LEVEL ${isolationSql[options.isolationLevel]}`,
    options.readOnly && 'READ ONLY',
    options.deferrable && 'DEFERRABLE',
  ];
  return withClient(pool, queries, async (client) => {
    await client.query(begin.filter(Boolean).join(' '));
    try {
      const results: NeonResult[] = [];
      for (const query of queries) results.push(await runQuery(client, query));
      await client.query('COMMIT');
      return results;
    } catch (error) {
      await client.query('ROLLBACK');
      throw error;
    }
  });
}

async function runQuery(client: PoolClient, { query, params = [] }: NeonQuery): Promise<NeonResult> {
  const config: QueryArrayConfig & { queryMode: 'extended' } = {
    text: query,
    values: params,
    rowMode: 'array',
    // Values stay the text that Postgres wrote; the client parses them by its own types.
    types: { getTypeParser: () => (text: string) => text } as unknown as NonNullable<QueryArrayConfig['types']>,
    // One statement for each query, also without parameters, as in the real service.
    queryMode: 'extended',
  };
  const { command, rowCount, rows, fields } = await client.query<(string | null)[]>(config);
  return { command, rowCount, rows, fields, rowAsArray: true };
}

/** Statements that change the session. In the service each request has a new session. */
const touchesSession =
  /^\s*(?:set|reset|prepare|listen|load|create\s+(?:local\s+|global\s+)?temp)|set_config|advisory_lock/i;

async function withClient<Result>(
  pool: Pool,
  queries: NeonQuery[],
  use: (client: PoolClient) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    return await use(client);
  } catch (error) {
    // An error without severity is not an answer of Postgres, so this connection must not be used again.
    if (error instanceof Error && !('severity' in error)) broken = error;
    throw error;
  } finally {
    if (!broken && queries.some(({ query }) => touchesSession.test(query))) {
      await client.query('DISCARD ALL').catch((error: Error) => {
        broken = error;
      });
    }
    client.release(broken);
  }
}
