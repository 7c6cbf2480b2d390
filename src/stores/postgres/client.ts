import { NeonDbError, neon, neonConfig } from '@neondatabase/serverless';
import { assert } from '../../core/assert.ts';
import type { Config } from '../../core/config.ts';
import { RefusedError, StoreError } from '../../core/errors.ts';

/** Values by parameter name: `$dataset` is bound to `dataset`. */
export type Params = Record<string, unknown>;

/** SQL with the values of its parameters: `$name` of an object, or `$1` of a list. */
export type Statement = [sql: string, params?: Params | readonly unknown[]];

export type Postgres = {
  /** Runs one statement with bound values. Throws StoreError; RefusedError for values that cannot be stored. */
  rows<Row>(...statement: Statement): Promise<Row[]>;
  /** Runs statements in order in one transaction. Throws StoreError, RefusedError. */
  transaction(statements: Statement[]): Promise<Record<string, unknown>[][]>;
};

/** Converts named parameters to positional ones, numbered by first use. */
function positional([text, params = []]: Statement): [text: string, values: unknown[]] {
  if (Array.isArray(params)) return [text, params];
  const named = params as Params;
  const names: string[] = [];
  const numbered = text.replace(/\$([A-Za-z_]\w*)/g, (_, name: string) => {
    assert(Object.hasOwn(named, name), `the statement has a value for $${name}: ${text}`);
    if (!names.includes(name)) names.push(name);
    return `$${names.indexOf(name) + 1}`;
  });
  return [numbered, names.map((name) => named[name])];
}

const timeout_ms = 10_000;

/** A time as milliseconds since 1970, in SQL. */
export function epochMs(column: string): string {
  return `(extract(epoch from ${column}) * 1000)::float8`;
}

/** HTTP endpoints that differ from Neon's default, by host and port of the database. */
const endpoints = new Map<string, string>();
const neonEndpoint = neonConfig.fetchEndpoint;

// The driver has one global setting, a function of the database.
neonConfig.fetchEndpoint = (host, port, options) =>
  endpoints.get(`${host}:${port}`) ??
  (typeof neonEndpoint === 'string' ? neonEndpoint : neonEndpoint(host, port, options));

/** The client of the catalogue. HTTP has no session, so related changes must be one statement or one transaction. */
export function createPostgres(config: Pick<Config, 'DATABASE_URL' | 'NEON_FETCH_ENDPOINT'>): Postgres {
  const { hostname, port } = new URL(config.DATABASE_URL);
  if (config.NEON_FETCH_ENDPOINT !== undefined) endpoints.set(`${hostname}:${port}`, config.NEON_FETCH_ENDPOINT);
  const sql = neon(config.DATABASE_URL);
  const fetchOptions = () => ({ signal: AbortSignal.timeout(timeout_ms) });
  return {
    // Outside of `withStoreErrors`: a missing value is a defect, and must not look like an outage that a retry may end.
    async rows(...statement) {
      const [text, values] = positional(statement);
      return await withStoreErrors(
        async () => (await sql.query(text, values, { fetchOptions: fetchOptions() })) as never,
      );
    },
    async transaction(statements) {
      const queries = statements.map(positional);
      return await withStoreErrors(
        async () =>
          (await sql.transaction(
            queries.map(([text, values]) => sql.query(text, values)),
            { fetchOptions: fetchOptions() },
          )) as Record<string, unknown>[][],
      );
    },
  };
}

/**
 * SQLSTATEs that depend on the values of a statement only, so that a retry fails too: data exceptions, values that a constraint
 * always forbids, and values beyond a limit of Postgres. Excluded are 22012, with which statements abort a transaction on
 * purpose, and 23503 and 23505, which depend on other rows.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const valueErrors = /^(?:22(?!012)|23502|23514|54)/;

async function withStoreErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = error instanceof NeonDbError ? error.code : undefined;
    const refused = code !== undefined;
    if (refused && valueErrors.test(code)) throw new RefusedError('postgres', error, `SQLSTATE ${code}`);
    throw new StoreError('postgres', refused ? 'rejected a statement' : 'did not answer', error);
  }
}
