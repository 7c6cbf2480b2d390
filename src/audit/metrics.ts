import type { Context } from '../context.ts';
import { newestAudits } from './audit-due.ts';

const help = {
  timestore_audit_missing_rows: 'Acknowledged rows that the newest audit did not find in ClickHouse',
  timestore_audit_doubled_rows: 'Rows that the newest audit found in ClickHouse more than once',
  timestore_audit_unaccounted_rows: 'Rows that the newest audit found in ClickHouse and on no record',
  timestore_audit_ok: '1 if everything added up in the newest audit, the hot buffer included',
  timestore_audit_age_seconds: 'Time since the newest audit',
} as const;

/** What the audits say, in the text format of Prometheus. Throws StoreError when Postgres is away. */
export async function metricsText(ctx: Context): Promise<string> {
  const audits = await newestAudits(ctx);
  const values = {
    timestore_audit_missing_rows: audits.map(({ missing }) => missing),
    timestore_audit_doubled_rows: audits.map(({ doubled }) => doubled),
    timestore_audit_unaccounted_rows: audits.map(({ unaccounted }) => unaccounted),
    timestore_audit_ok: audits.map(({ ok }) => (ok ? 1 : 0)),
    timestore_audit_age_seconds: audits.map(({ age_s }) => Math.round(age_s)),
  } satisfies Record<keyof typeof help, number[]>;
  return Object.entries(help)
    .map(([name, text]) => {
      const samples = audits.map(({ dataset, table }, i) => {
        return `${name}{dataset="${dataset}",table="${table}"} ${values[name as keyof typeof help][i]}\n`;
      });
      return `# HELP ${name} ${text}\n# TYPE ${name} gauge\n${samples.join('')}`;
    })
    .join('');
}
