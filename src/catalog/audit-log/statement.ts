import { currentActor } from '../../core/request-context.ts';
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
 * @param params of the whole statement; the line's are added
 */
export function auditLine({ action, dataset, table, detail = {} }: Line, from: string, params: unknown[]): string {
  const { actor, requestId } = currentActor();
  const at = params.length;
  params.push(actor, requestId, action, dataset ?? null, table ?? null, toJsonb(detail));
  return `insert into audit_log (actor, request_id, action, dataset, "table", detail)
    select $${at + 1}::text, $${at + 2}::text, $${at + 3}::text, $${at + 4}::text, $${at + 5}::text, $${at + 6}::jsonb
      from ${from}`;
}

/** The same for what changes nothing in the catalogue: before it is done, so that nothing is done without. Throws StoreError. */
export async function recordLine(ctx: CatalogDeps, line: Line): Promise<void> {
  const params: unknown[] = [];
  await ctx.postgres.rows(`with one as (select 1) ${auditLine(line, 'one', params)}`, params);
}
