import * as z from 'zod';
import { auditLine } from '../../catalog/audit-log/statement.ts';
import { ApiError } from '../../core/errors.ts';
import { physicalName } from '../../core/identifiers.ts';
import { describeError } from '../../core/log.ts';
import { notFound } from '../../core/not-found.ts';
import { currentActor, runAs } from '../../core/request-context.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs, type Params } from '../../stores/postgres/client.ts';
import type { OperationDeps } from '../deps.ts';
import type { ExportFormat } from './day.ts';
import { scheduleExport } from './export.ts';

const scheduleRow: z.ZodType<ExportSchedule> = z.object({
  dataset: z.string(),
  table: z.string(),
  life: z.number(),
  hour: z.number(),
  days: z.number(),
  format: z.enum(['parquet', 'csv', 'ndjson']),
  columns: z.array(z.string()).nullable(),
  nextAt_ms: z.number(),
  actor: z.string(),
});

/** A daily export of whole days (UTC). */
export type ExportSchedule = {
  dataset: string;
  table: string;
  /** Life of its table. */
  life: number;
  hour: number;
  /** Number of whole days before that hour. */
  days: number;
  format: ExportFormat;
  columns: string[] | null;
  nextAt_ms: number;
  actor: string;
};

const columnsSql = `dataset, "table", life, hour, days, format, columns, ${epochMs('next_at')} as "nextAt_ms", actor`;

const day_ms = 86_400_000;

/** Sets or replaces a table's schedule. Throws TimestoreError `not-found`; StoreError. */
export async function setSchedule(
  ctx: OperationDeps,
  schedule: Pick<ExportSchedule, 'dataset' | 'table' | 'hour' | 'days' | 'format' | 'columns'>,
): Promise<ExportSchedule> {
  const { dataset, table, hour, days, format, columns } = schedule;
  const params: Params = {
    dataset,
    table,
    hour,
    days,
    format,
    columns: columns === null ? null : JSON.stringify(columns),
    actor: currentActor().actor,
    buffer: ctx.config.TIMESTORE_KEY_PREFIX,
  };
  const line = auditLine(
    { action: 'export.schedule', dataset, table, detail: { hour, days, format } },
    'changed',
    params,
  );
  const [set] = checkRows(
    scheduleRow,
    await ctx.postgres.rows(
      `with changed as (
       insert into export_schedules (dataset, "table", hour, days, format, columns, actor, buffer, life, next_at)
       select $dataset, $table, $hour, $days, $format, $columns::jsonb, $actor, $buffer, life, today + case when today <= now() then interval '1 day' else '0' end
         from (select date_trunc('day', now(), 'UTC') + $hour * interval '1 hour' as today) as day, tables
        where dataset = $dataset and name = $table and dropped_at is null and state <> 'deleting'
       on conflict (buffer, dataset, "table") do update set hour = excluded.hour, days = excluded.days,
         life = excluded.life, format = excluded.format, columns = excluded.columns, actor = excluded.actor, next_at = excluded.next_at
       returning *),
     line as (${line})
     select ${columnsSql} from changed`,
      params,
    ),
  );
  if (set === undefined) throw notFound({ dataset, table });
  return set;
}

/** Returns whether the table had a schedule. */
export async function removeSchedule(ctx: OperationDeps, dataset: string, table: string): Promise<boolean> {
  const params: Params = { dataset, table, buffer: ctx.config.TIMESTORE_KEY_PREFIX };
  const line = auditLine({ action: 'export.unschedule', dataset, table }, 'changed', params);
  const removed = await ctx.postgres.rows(
    `with changed as (
       delete from export_schedules where dataset = $dataset and "table" = $table and buffer = $buffer returning dataset),
     line as (${line})
     select dataset from changed`,
    params,
  );
  return removed.length > 0;
}

/** Schedules of these datasets, or of all. */
export async function listSchedules(ctx: OperationDeps, datasets: string[] | undefined): Promise<ExportSchedule[]> {
  return checkRows(
    scheduleRow,
    await ctx.postgres.rows(
      `select ${columnsSql} from export_schedules
      where buffer = $buffer and ($datasets::text[] is null or dataset = any($datasets)) order by dataset, "table" limit 1000`,
      { buffer: ctx.config.TIMESTORE_KEY_PREFIX, datasets: datasets ?? null },
    ),
  );
}

const exports_max = 200;

/**
 * Starts exports that are due. The id of an export contains its table and its time, so it starts only once. Missed exports
 * are started later.
 *
 * @returns the number of started exports
 */
export async function exportDue(ctx: OperationDeps): Promise<number> {
  const { TIMESTORE_KEY_PREFIX: buffer } = ctx.config;
  let started = 0;
  for (let n = 0; n < exports_max; n += 1) {
    const [due] = checkRows(
      scheduleRow,
      await ctx.postgres.rows(
        `select ${columnsSql} from export_schedules where buffer = $buffer and next_at <= now() order by next_at limit 1`,
        { buffer },
      ),
    );
    if (due === undefined) break;
    started += (await startScheduled(ctx, due)) ? 1 : 0;
    // Has no effect if another instance has already advanced the schedule.
    await ctx.postgres.rows(
      `update export_schedules set next_at = next_at + interval '1 day'
        where buffer = $buffer and dataset = $dataset and "table" = $table and next_at = to_timestamp($nextAt_ms::float8 / 1000)`,
      { buffer, dataset: due.dataset, table: due.table, nextAt_ms: due.nextAt_ms },
    );
  }
  return started;
}

async function startScheduled(ctx: OperationDeps, due: ExportSchedule): Promise<boolean> {
  const { dataset, table, life, days, format, columns, nextAt_ms } = due;
  const end_ms = nextAt_ms - (nextAt_ms % day_ms);
  const timeRange = { start: new Date(end_ms - days * day_ms).toISOString(), end: new Date(end_ms).toISOString() };
  const id = `scheduled-${dataset}.${physicalName(table, life)}-${new Date(nextAt_ms).toISOString().slice(0, 13)}`;
  try {
    const request = { format, timeRange, ...(columns !== null && { columns }) };
    const scheduled = { id, life };
    await runAs({ actor: due.actor, requestId: id }, () => {
      return scheduleExport(ctx, dataset, table, request, undefined, scheduled);
    });
    return true;
  } catch (error) {
    // The table was dropped, or the schedule has changed since an export with this id was started.
    if (!(error instanceof ApiError)) throw error;
    ctx.log({ event: 'export-skipped', dataset, table, export: id, ...describeError(error) });
    return false;
  }
}
