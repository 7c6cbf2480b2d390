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
 * Reads the batches of a seal that did not fit into the reply of the seal script. The script checks the seal for each page,
 * which detects another flush that has published and trimmed it. The token of the seal checks all batches together.
 *
 * @param first the batches in the reply of the seal script
 * @returns all batches; otherwise the reason: the seal was `published` meanwhile, or the log does not match the seal
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
  return computeToken(lane, batches) === token ? batches : 'other-batches';
}

/** The token of these batches, computed as in seal.lua. */
function computeToken(lane: number, batches: BufferedBatch[]): string {
  const ids = createHash('sha1').update(batches.map(({ id }) => id).join(','));
  return `${lane}:${batches[0]?.seq}-${batches.at(-1)?.seq}:${ids.digest('hex')}`;
}
