import { createTable } from '../../../src/catalog/create-table.ts';
import { findTable } from '../../../src/catalog/find-table.ts';
import { setUpLanes } from '../../../src/catalog/provision-lanes.ts';
import type { Context } from '../../../src/create-context.ts';
import { flushTable } from '../../../src/flush/flush-table.ts';
import { ingestRows } from '../../../src/ingest/ingest.ts';

export type StatusRow = {
  service_id: string;
  timestamp: string;
  status_code: number;
  message?: string;
  response_time_ms?: number;
};

/** Makes the table `service_status` of a dataset, with the columns that answers read. */
export async function createStatusTable(ctx: Context, dataset: string): Promise<void> {
  const table = await createTable(ctx, {
    dataset,
    name: 'service_status',
    window: 'month',
    lanes: 2,
    schema: {
      version: 1,
      timestampColumn: 'timestamp',
      keyFields: ['service_id'],
      fields: [
        { name: 'timestamp', type: 'timestamp' },
        { name: 'service_id', type: 'string' },
        { name: 'status_code', type: 'integer' },
        { name: 'message', type: 'string' },
        { name: 'response_time_ms', type: 'integer' },
      ],
    },
  });
  await setUpLanes(ctx, table);
}

export async function sendStatus(ctx: Context, dataset: string, rows: StatusRow[]): Promise<void> {
  if (rows.length === 0) return;
  const text = rows.map((row) => JSON.stringify(row)).join('\n');
  await ingestRows(ctx, { dataset, table: 'service_status', text, format: 'ndjson', idempotencyKey: undefined });
}

export async function flushStatus(ctx: Context, dataset: string): Promise<void> {
  const table = await findTable(ctx, dataset, 'service_status');
  if (table === undefined) throw new Error(`no table service_status in ${dataset}`);
  await flushTable(ctx, table, 'admin', ctx.now() + 60_000);
}
