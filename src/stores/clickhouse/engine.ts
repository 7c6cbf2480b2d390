import { quoteString } from '../../core/identifiers.ts';

/**
 * The engine of a table: replicated on a cluster with replicas, under a path in Keeper that all replicas of a shard share and
 * nothing else. The server says which replica it is, in its macro `{replica}`.
 *
 * @param name of the table, with its database, which no other table ever has
 * @param args of the engine itself
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
