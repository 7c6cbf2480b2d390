import { quoteString } from '../../core/identifiers.ts';

/**
 * The engine clause of a table. On a cluster with replicas the engine is replicated, under a path in Keeper that only the
 * replicas of a shard share. The macro `{replica}` of the server identifies the replica.
 *
 * @param name unique name of the table, including its database
 * @param args arguments of the engine
 */
export function engineSql(
  { isReplicated, shard }: { isReplicated: boolean; shard: number },
  name: string,
  engine: string,
  args = '',
): string {
  if (!isReplicated) return args === '' ? engine : `${engine}(${args})`;
  const path = quoteString(`/timestore/${shard}/${name}`);
  return `Replicated${engine}(${path}, '{replica}'${args === '' ? '' : `, ${args}`})`;
}
