import * as z from 'zod';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs } from '../../stores/postgres/client.ts';
import type { MonitoringDeps } from '../deps.ts';

const valueRow = z.object({ name: z.string(), value: z.string() });

/** Values of secrets by name, for a request or a message that needs them. A name that is not stored is missing. Throws StoreError. */
export async function readSecrets(ctx: MonitoringDeps, dataset: string, names: string[]): Promise<Map<string, string>> {
  if (names.length === 0) return new Map();
  const rows = await ctx.postgres.rows(
    `select name, value from monitor_secrets
      where buffer = $buffer and dataset = $dataset and name = any($names::text[])`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset, names },
  );
  return new Map(checkRows(valueRow, rows).map(({ name, value }) => [name, value]));
}

const nameRow = z.object({ name: z.string(), changedAt_ms: z.number() });

/** Names of secrets, without their values. Throws StoreError. */
export async function listSecrets(
  ctx: MonitoringDeps,
  dataset: string,
  { after, limit }: { after?: string | undefined; limit: number },
): Promise<z.output<typeof nameRow>[]> {
  const rows = await ctx.postgres.rows(
    `select name, ${epochMs('changed_at')} as "changedAt_ms" from monitor_secrets
      where buffer = $buffer and dataset = $dataset and ($after::text is null or name collate "C" > $after)
      order by name collate "C" limit $limit`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset, after: after ?? null, limit },
  );
  return checkRows(nameRow, rows);
}
