import * as z from 'zod';
import { readTable } from '../../catalog/find-table.ts';
import { describeError } from '../../core/log.ts';
import { checkRows, isRecord } from '../../stores/check-rows.ts';
import type { OperationDeps } from '../deps.ts';
import { auditTable, type TableAudit } from './audit-table.ts';

/** Reports are as `auditTable` stored them. */
const auditRow = z.object({ report: z.custom<TableAudit>(isRecord), age_s: z.string() });

const tablesInPass = 200;

const auditDueRow = z.object({ dataset: z.string(), name: z.string() });

/**
 * Audits the tables whose last audit is older than the limit `audit_every_ms`, oldest first, until the deadline. A table
 * that cannot be audited does not delay the others.
 *
 * @throws StoreError when Postgres is unavailable
 */
export async function auditDue(ctx: OperationDeps, deadline_ms: number): Promise<number> {
  const due = checkRows(
    auditDueRow,
    await ctx.postgres.rows(
      `select t.dataset, t.name from tables t left join audits a using (dataset, name, life)
      where t.dropped_at is null and (a.audited_at is null or a.audited_at < now() - $audit_every_ms * interval '1 millisecond')
      order by a.audited_at nulls first limit $tablesInPass`,
      { audit_every_ms: ctx.config.limits.audit_every_ms, tablesInPass },
    ),
  );
  let audited = 0;
  for (const { dataset, name } of due) {
    if (ctx.now() >= deadline_ms) break;
    try {
      const table = await readTable(ctx, dataset, name);
      if (table !== undefined) await auditTable(ctx, table);
      audited += 1;
    } catch (error) {
      ctx.log({ event: 'audit-failed', dataset, table: name, ...describeError(error) });
    }
  }
  return audited;
}

/** The newest audit of each table. Throws StoreError when Postgres is unavailable. */
export async function newestAudits(ctx: OperationDeps): Promise<(TableAudit & { age_s: number })[]> {
  const rows = checkRows(
    auditRow,
    await ctx.postgres.rows(
      `select report, extract(epoch from now() - audited_at) as age_s
       from audits join tables t using (dataset, name, life) where t.dropped_at is null order by dataset, name`,
    ),
  );
  return rows.map(({ report, age_s }) => ({ ...report, age_s: Number(age_s) }));
}
