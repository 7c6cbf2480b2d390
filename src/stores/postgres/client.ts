import { NeonDbError, neon, neonConfig } from '@neondatabase/serverless';
import type { Config } from '../../core/config.ts';
import { RefusedError, StoreError } from '../../core/errors.ts';

/** Values by the names that a statement has for them: `$dataset` is bound to `dataset`. */
export type Params = Record<string, unknown>;

/** SQL with the values of its parameters: `$name` of an object, or `$1` of a list. */
export type Statement = [sql: string, params?: Params | readonly unknown[]];

export type Postgres = {
  /** One statement with its values bound. Throws StoreError; RefusedError for values that cannot be stored. */
  rows<Row>(...statement: Statement): Promise<Row[]>;
  /** Several in one transaction, in this order. Throws StoreError, RefusedError; nothing has happened then. */
  transaction(statements: Statement[]): Promise<Record<string, unknown>[][]>;
};

/** A statement as Postgres takes it, its parameters numbered in the order of their first use. */
function positional([text, params = []]: Statement): [text: string, values: unknown[]] {
  if (Array.isArray(params)) return [text, params];
  const named = params as Params;
  const names: string[] = [];
  const numbered = text.replace(/\$([A-Za-z_]\w*)/g, (_, name: string) => {
    if (!Object.hasOwn(named, name)) throw new Error(`statement without a value for $${name}: ${text}`);
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

/** Databases whose HTTP interface is not where Neon's own would be, by host and port. */
const endpoints = new Map<string, string>();
const neonEndpoint = neonConfig.fetchEndpoint;

// The driver knows one setting for the whole program, and asks it for each database.
neonConfig.fetchEndpoint = (host, port, options) =>
  endpoints.get(`${host}:${port}`) ??
  (typeof neonEndpoint === 'string' ? neonEndpoint : neonEndpoint(host, port, options));

/** The catalogue's client, over HTTP: there is no session, so whatever belongs together is one statement or one batch. */
export function createPostgres(config: Pick<Config, 'DATABASE_URL' | 'NEON_FETCH_ENDPOINT'>): Postgres {
  const { hostname, port } = new URL(config.DATABASE_URL);
  if (config.NEON_FETCH_ENDPOINT !== undefined) endpoints.set(`${hostname}:${port}`, config.NEON_FETCH_ENDPOINT);
  const sql = neon(config.DATABASE_URL);
  const fetchOptions = () => ({ signal: AbortSignal.timeout(timeout_ms) });
  return {
    rows: (...statement) =>
      answered(async () => (await sql.query(...positional(statement), { fetchOptions: fetchOptions() })) as never),
    transaction: (statements) =>
      answered(
        async () =>
          (await sql.transaction(
            statements.map((statement) => sql.query(...positional(statement))),
            { fetchOptions: fetchOptions() },
          )) as Record<string, unknown>[][],
      ),
  };
}

/**
 * SQLSTATEs that depend on a statement's values alone, so that the same statement is refused again: data exceptions, values
 * that a constraint forbids in any state of the database, and values beyond a limit of Postgres. Not among them: 22012,
 * with which statements here end a transaction on purpose, and 23503 and 23505, which depend on other rows.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const ofValues = /^(?:22(?!012)|23502|23514|54)/;

async function answered<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = error instanceof NeonDbError ? error.code : undefined;
    const refused = code !== undefined;
    if (refused && ofValues.test(code)) throw new RefusedError('postgres', error, `SQLSTATE ${code}`);
    throw new StoreError('postgres', refused ? 'refused a statement' : 'did not answer', error);
  }
}
