import * as z from 'zod';
import { publishImport } from '../../buffer/seal-import.ts';
import type { Table } from '../../schema/table.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { askInTurn } from '../../stores/redis/client.ts';
import type { OperationDeps } from '../deps.ts';

const showHiddenImportsRow = z.object({ latest_ms: z.number(), received_ms: z.number() });

/**
 * Publishes finished imports again that a failover of the hot buffer has made invisible.
 *
 * @returns the ids of the imports
 * @throws StoreError when Redis or Postgres is unavailable
 */
export async function showHiddenImports(ctx: OperationDeps, table: Table): Promise<string[]> {
  const lanes = Array.from({ length: table.readLanes }, (_, lane) => lane);
  const commands = lanes.map((lane) => ['HMGET', ctx.keys.state(table, lane), 's_import', 's_from', 's_to', 's_token']);
  const replies = await askInTurn(ctx.redis, commands);
  const shown: string[] = [];
  for (const [lane, reply] of replies.entries()) {
    const [id, from, to, token] = reply as (string | null)[];
    if (!id || !token) continue;
    const [job] = checkRows(
      showHiddenImportsRow,
      await ctx.postgres.rows(
        `select (progress->>'latest_ms')::float8 as latest_ms, coalesce((progress->>'receivedAt_ms')::float8, 0) as received_ms
         from jobs where id = $id and state = 'done'`,
        { id },
      ),
    );
    if (job === undefined) continue;
    const seal = { id, lane, from: Number(from), to: Number(to), token };
    await publishImport(ctx, table, seal, { latest_ms: job.latest_ms, receivedAt_ms: job.received_ms });
    ctx.log({ event: 'import-hidden', alarm: true, dataset: table.dataset, table: table.name, import: id });
    shown.push(id);
  }
  return shown;
}
