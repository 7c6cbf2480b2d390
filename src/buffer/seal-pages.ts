import { createHash } from 'node:crypto';
import type { Table } from '../schema/table.ts';
import { pageBytes, runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import { type BatchReply, type BufferedBatch, bufferedBatch } from './buffered-batch.ts';
import type { BufferDeps } from './deps.ts';
import sealPageLua from './lua/seal-page.lua';

const sealPageScript = script(sealPageLua);

type Reply = ['page', ...BatchReply[]] | ['published' | 'gap'];

/**
 * Reads the batches of a seal that did not fit into the reply that fixed it. Each page is read while the seal is there, so
 * that another flusher that publishes and trims it in between shows; and all of them together are what its token names.
 *
 * @param first the batches that are known
 * @returns all batches, or why they cannot be had: the seal was `published` meanwhile, or the log is not what it says
 * @throws StoreError
 */
export async function readWholeSeal(
  ctx: BufferDeps,
  table: Table,
  lane: number,
  { epoch, token, from, to }: { epoch: number; token: string; from: number; to: number },
  first: BufferedBatch[],
): Promise<BufferedBatch[] | 'published' | 'gap' | 'other-batches'> {
  const batches = [...first];
  while (from + batches.length <= to) {
    const [outcome, ...page] = await runScript<Reply>(
      ctx.redis,
      sealPageScript,
      { state: ctx.keys.state(table, lane), log: ctx.keys.log(table, lane) },
      { epoch, token, from: from + batches.length, reply_bytes_max: pageBytes(ctx.config.limits) },
    );
    if (outcome !== 'page') return outcome;
    batches.push(...page.map(bufferedBatch));
  }
  return tokenOf(lane, batches) === token ? batches : 'other-batches';
}

/** What seal.lua makes of the same batches. */
function tokenOf(lane: number, batches: BufferedBatch[]): string {
  const ids = createHash('sha1').update(batches.map(({ id }) => id).join(','));
  return `${lane}:${batches[0]?.seq}-${batches.at(-1)?.seq}:${ids.digest('hex')}`;
}
