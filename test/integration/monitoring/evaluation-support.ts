import type { Context } from '../../../src/create-context.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';
import { evaluateDataset } from '../../../src/monitoring/alerts/evaluate.ts';
import { definitions, type Kind } from '../../../src/monitoring/resources/kinds.ts';
import { readConfig } from '../../../src/monitoring/resources/store.ts';

export const minute_ms = 60_000;

/** Stores a resource as the API does, without its checks. */
export async function putResource(ctx: Context, dataset: string, kind: Kind, id: string, definition: object) {
  const full = definitions[kind].parse(definition);
  await ctx.postgres.rows(
    `with changed as (
       insert into monitor_datasets (buffer, dataset) values ($buffer, $dataset)
       on conflict (buffer, dataset) do update set revision = monitor_datasets.revision + 1)
     insert into monitor_resources (buffer, dataset, kind, id, definition, actor, created_at)
     values ($buffer, $dataset, $kind, $id, $definition::jsonb, 'admin', now() - interval '1 day')
     on conflict (buffer, dataset, kind, id) do update
       set definition = excluded.definition, revision = monitor_resources.revision + 1`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset, kind, id, definition: JSON.stringify(full) },
  );
}

export type Status = { at_ms: number; code: number; service?: string; message?: string; response_time_ms?: number };

/** Sends rows of `service_status`. */
export async function report(ctx: Context, dataset: string, rows: Status[]) {
  const lines = rows.map(({ at_ms, code, service = 'api', message = '', response_time_ms = 20 }) => {
    return JSON.stringify({
      timestamp: new Date(at_ms).toISOString(),
      service_id: service,
      status_code: code,
      message,
      details: { by: 'test' },
      response_time_ms,
      cpu_usage: 0.5,
      memory_usage: 0.5,
    });
  });
  const text = lines.join('\n');
  const idempotencyKey = undefined;
  return await ingestRows(ctx, { dataset, table: 'service_status', text, format: 'ndjson', idempotencyKey });
}

export async function evaluate(ctx: Context, dataset: string, at_ms?: number) {
  return await evaluateDataset(ctx, dataset, await readConfig(ctx, dataset), at_ms);
}

type Event = { id: string; at_ms: number; detail: Record<string, unknown> };

/** The history of a dataset's alerts, the oldest first; ids without fingerprints. */
export async function history(ctx: Context, dataset: string): Promise<Event[]> {
  const rows = await ctx.postgres.rows<Event>(
    `select rule_id || '/' || service_id || '/' || episode || '/' || kind as id,
            (extract(epoch from at) * 1000)::float8 as at_ms, detail
       from alert_events where buffer = $buffer and dataset = $dataset order by n`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset },
  );
  return rows;
}

export async function notices(ctx: Context, dataset: string): Promise<string[]> {
  const rows = await ctx.postgres.rows<{ id: string }>(
    `select channel || ' ' || kind || ' ' || (alert->>'serviceId') || ' ' || episode as id
       from alert_notices where buffer = $buffer and dataset = $dataset order by n`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset },
  );
  return rows.map(({ id }) => id);
}
