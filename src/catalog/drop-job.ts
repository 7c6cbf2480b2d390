import { currentActor } from '../core/request-context.ts';
import type { Params } from '../stores/postgres/client.ts';

/**
 * Part of a statement that deletes a dataset or a table: schedules the job that drops it after the grace period. `from` is the
 * common table expression of the change, with `delete_at`.
 */
export function scheduleDrop(
  kind: 'drop-dataset' | 'drop-table',
  from: string,
  dataset: string,
  table: string,
  buffer: string,
  params: Params,
): string {
  const { actor, requestId } = currentActor();
  Object.assign(params, { dropId: crypto.randomUUID(), dropKind: kind, actor, requestId, buffer });
  return `insert into jobs (id, kind, dataset, "table", request, actor, request_id, buffer, due_at)
    select $dropId::text, $dropKind::text, ${dataset}, ${table}, '{}', $actor::text, $requestId::text, $buffer::text, delete_at
      from ${from}`;
}

/** Part of a statement that changes a dataset or a table: cancels an earlier drop job. */
export function cancelDrop(from: string, condition: string, which: string): string {
  return `update jobs set state = 'cancelled', finished_at = now()
    where kind in ('drop-dataset', 'drop-table') and state in ('queued', 'running') and ${which} and ${condition}
      and exists (select from ${from})`;
}
