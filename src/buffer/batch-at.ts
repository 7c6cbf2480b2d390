import type { Table } from '../schema/table.ts';
import { ask } from '../stores/redis/client.ts';
import type { BufferDeps } from './deps.ts';

/** The id of the pending batch with a sequence, if there is one. Throws StoreError. */
export async function batchIdAt(ctx: BufferDeps, table: Table, lane: number, seq: number): Promise<string | undefined> {
  const id = `${seq}-0`;
  // The client declares the deserialised type, but deserialisation is off.
  const entries = await ask(() => ctx.redis.xrange(ctx.keys.log(table, lane), id, id));
  const [entry] = entries as unknown as [id: string, fields: string[]][];
  const at = entry?.[1].indexOf('id') ?? -1;
  return at < 0 ? undefined : entry?.[1][at + 1];
}
