import { currentActor } from '../core/request-context.ts';

/**
 * Parts of a statement that changes a dataset or a table: the job that drops it when its grace is over, and taking an
 * earlier one back. `from` is the common table expression of the change, with `delete_at`.
 */
export function scheduleDrop(
  kind: 'drop-dataset' | 'drop-table',
  from: string,
  dataset: string,
  table: string,
  buffer: string,
  params: unknown[],
): string {
  const { actor, requestId } = currentActor();
  const at = params.length;
  params.push(crypto.randomUUID(), kind, actor, requestId, buffer);
  return `insert into jobs (id, kind, dataset, "table", request, actor, request_id, buffer, due_at)
    select $${at + 1}::text, $${at + 2}::text, ${dataset}, ${table}, '{}', $${at + 3}::text, $${at + 4}::text, $${at + 5}::text,
      delete_at from ${from}`;
}

export function cancelDrop(from: string, condition: string, which: string): string {
  return `update jobs set state = 'cancelled', finished_at = now()
    where kind in ('drop-dataset', 'drop-table') and state in ('queued', 'running') and ${which} and ${condition}
      and exists (select from ${from})`;
}
