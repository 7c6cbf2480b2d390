import { currentActor } from '../../core/request-context.ts';
import type { Params } from '../../stores/postgres/client.ts';
import { toJsonb } from '../../stores/postgres/jsonb.ts';
import type { CatalogDeps } from '../deps.ts';

export type Line = {
  /** `<object>.<verb>`. */
  action: string;
  dataset?: string | undefined;
  table?: string | undefined;
  /** The new values, without secrets. */
  detail?: object;
};

/**
 * The statement that writes a line of the audit log for each row of `from`, the common table expression of a change. Change and
 * line are one statement, so neither is recorded without the other.
 *
 * @param params parameters of the whole statement; this adds those of the line, prefixed with `from`
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

/** Audits an action without a change of the catalogue. Call it before the action. Throws StoreError. */
export async function recordLine(ctx: CatalogDeps, line: Line): Promise<void> {
  const params: Params = {};
  await ctx.postgres.rows(`with one as (select 1) ${auditLine(line, 'one', params)}`, params);
}
