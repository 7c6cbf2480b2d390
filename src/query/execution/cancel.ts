import { ApiError } from '../../core/errors.ts';
import { quoteString } from '../../core/identifiers.ts';
import { inEachInstance } from '../../core/instance-memory.ts';
import { type Actor, currentActor } from '../../core/request-context.ts';
import { ClickHouseError, clickhouseCodes } from '../../stores/clickhouse/client.ts';
import { everyNode } from '../../stores/clickhouse/servers.ts';
import type { QueryDeps } from '../deps.ts';

type Who = Pick<Actor, 'actor' | 'requestId'>;

/** What the ids of all statements of a query begin with at ClickHouse: the key is in it, so that no other key names them. */
const prefixOf = ({ actor, requestId }: Who) => `timestore/${actor}/${requestId}/`;

/** An id for a statement of the query that is being answered. */
export function statementId(): string {
  return `${prefixOf(currentActor())}${crypto.randomUUID()}`;
}

/** Queries that this instance is answering. They may not have come to ClickHouse yet. */
const begun = inEachInstance(() => new Map<string, Set<AbortController>>());

/**
 * Makes the query that is being answered one that can be cancelled.
 *
 * @returns what ends that
 */
export function noteQuery(ctx: QueryDeps, controller: AbortController): () => void {
  const prefix = prefixOf(currentActor());
  const all = begun(ctx);
  const same = all.get(prefix) ?? new Set();
  all.set(prefix, same.add(controller));
  return () => {
    same.delete(controller);
    if (same.size === 0 && all.get(prefix) === same) all.delete(prefix);
  };
}

/**
 * Cancels a query of a key, on this instance and at every ClickHouse.
 *
 * @param who the key, and the id of the request that began the query
 * @returns whether there was one
 * @throws StoreError; TimestoreError `misconfigured` where the user at ClickHouse lacks the grant
 */
export async function cancelQuery(ctx: QueryDeps, who: Who): Promise<boolean> {
  const prefix = prefixOf(who);
  const here = [...(begun(ctx).get(prefix) ?? [])];
  for (const controller of here) controller.abort(abortIfCancelled());
  const sql = `KILL QUERY WHERE startsWith(query_id, ${quoteString(prefix)}) ASYNC`;
  const found = await Promise.all(everyNode(ctx).map(async ({ clickhouse }) => await killed(ctx, clickhouse, sql)));
  return here.length > 0 || found.some((count) => count > 0);
}

async function killed(
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
      `Queries cannot be cancelled at ClickHouse: GRANT KILL QUERY ON *.* TO ${config.CLICKHOUSE_USER}.`,
      { cause: error },
    );
  }
}

/** What a cancelled query is answered with, as far as anybody waits. */
export function abortIfCancelled(cause?: unknown): ApiError {
  return new ApiError('query-cancelled', 'The query was cancelled by the key that began it.', { cause });
}
