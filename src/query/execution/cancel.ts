import { ApiError } from '../../core/errors.ts';
import { quoteString } from '../../core/identifiers.ts';
import { inEachInstance } from '../../core/instance-memory.ts';
import { type Actor, currentActor } from '../../core/request-context.ts';
import { ClickHouseError, clickhouseCodes } from '../../stores/clickhouse/client.ts';
import { everyNode } from '../../stores/clickhouse/servers.ts';
import type { QueryDeps } from '../deps.ts';

type QueryOwner = Pick<Actor, 'actor' | 'requestId'>;

/** The prefix of the query_id of all statements of a query. It contains the key, so that no other key can name them. */
const queryIdPrefix = ({ actor, requestId }: QueryOwner) => `timestore/${actor}/${requestId}/`;

/** A query_id for a statement of the current query. */
export function statementId(): string {
  return `${queryIdPrefix(currentActor())}${crypto.randomUUID()}`;
}

/** Queries of this instance, including those that have not reached ClickHouse yet. */
const runningQueries = inEachInstance(() => new Map<string, Set<AbortController>>());

/**
 * Makes the current query cancellable.
 *
 * @returns a function that removes the registration
 */
export function registerQuery(ctx: QueryDeps, controller: AbortController): () => void {
  const prefix = queryIdPrefix(currentActor());
  const all = runningQueries(ctx);
  const same = all.get(prefix) ?? new Set();
  all.set(prefix, same.add(controller));
  return () => {
    same.delete(controller);
    if (same.size === 0 && all.get(prefix) === same) all.delete(prefix);
  };
}

/**
 * Cancels a query of a key, on this instance and on every ClickHouse node.
 *
 * @param owner the key, and the id of the request that began the query
 * @returns whether the query was running
 * @throws StoreError; ApiError `misconfigured` where the ClickHouse user does not have the grant
 */
export async function cancelQuery(ctx: QueryDeps, owner: QueryOwner): Promise<boolean> {
  const prefix = queryIdPrefix(owner);
  const local = [...(runningQueries(ctx).get(prefix) ?? [])];
  for (const controller of local) controller.abort(queryCancelled());
  const sql = `KILL QUERY WHERE startsWith(query_id, ${quoteString(prefix)}) ASYNC`;
  const found = await Promise.all(
    everyNode(ctx).map(async ({ clickhouse }) => await killQueries(ctx, clickhouse, sql)),
  );
  return local.length > 0 || found.some((count) => count > 0);
}

async function killQueries(
  { config }: QueryDeps,
  clickhouse: ReturnType<typeof everyNode>[number]['clickhouse'],
  sql: string,
): Promise<number> {
  try {
    return (await clickhouse.rows(sql)).length;
  } catch (error) {
    if (!(error instanceof ClickHouseError) || error.code !== clickhouseCodes.accessDenied) throw error;
    throw new ApiError(
      'misconfigured',
      `The ClickHouse user may not cancel queries: GRANT KILL QUERY ON *.* TO ${config.CLICKHOUSE_USER}.`,
      { cause: error },
    );
  }
}

export function queryCancelled(cause?: unknown): ApiError {
  return new ApiError('query-cancelled', 'The query was cancelled by its key.', { cause });
}
