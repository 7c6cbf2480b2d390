import { currentActor } from '../../core/request-context.ts';
import type { Params } from '../../stores/postgres/client.ts';
import { toJsonb } from '../../stores/postgres/jsonb.ts';
import type { CatalogDeps } from '../deps.ts';

export type Line = {
  /** What was done, as `<thing>.<verb>`. */
  action: string;
  dataset?: string | undefined;
  table?: string | undefined;
  /** What it was changed to. No secret. */
  detail?: object;
};

/**
 * The statement that writes a line of the audit log for each row of `from`, a common table expression of the change
 * itself: a change and its line are one statement, so there is none without the other.
 *
 * @param params of the whole statement; those of the line are added, under names that begin with that of `from`
 */
export function auditLine({ action, dataset, table, detail = {} }: Line, from: string, params: Params): string {
  const line = { ...currentActor(), action, dataset: dataset ?? null, table: table ?? null, detail: toJsonb(detail) };
  for (const name of columns) params[`${from}_${name}`] = line[name];
  const named = (name: Column) => `$${from}_${name}::${name === 'detail' ? 'jsonb' : 'text'}`;
  return `insert into audit_log (actor, request_id, action, dataset, "table", detail)
    select ${columns.map(named).join(', ')} from ${from}`;
}

const columns = ['actor', 'requestId', 'action', 'dataset', 'table', 'detail'] as const;
type Column = (typeof columns)[number];

/** The same for what changes nothing in the catalogue: before it is done, so that nothing is done without. Throws StoreError. */
export async function recordLine(ctx: CatalogDeps, line: Line): Promise<void> {
  const params: Params = {};
  await ctx.postgres.rows(`with one as (select 1) ${auditLine(line, 'one', params)}`, params);
}
