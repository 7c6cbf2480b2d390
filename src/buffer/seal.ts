import { StoreError } from '../core/errors.ts';
import type { Table } from '../schema/table.ts';
import { pageBytes, runScript, runScriptAndWait } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import { type BatchReply, type BufferedBatch, bufferedBatch } from './buffered-batch.ts';
import type { BufferDeps } from './deps.ts';
import sealLua from './lua/seal.lua';
import { readWholeSeal } from './seal-pages.ts';
import { parseSkip, type SkipList } from './skip.ts';

const sealScript = script(sealLua);

/** The fixed range of batches that one flush moves. */
export type Seal = {
  epoch: number;
  token: string;
  from: number;
  to: number;
  incarnation: string;
  rows: number;
  bytes: number;
  /** The version of the insert settings of the first insert. All other inserts need the same. */
  settingsVersion: number;
  /** Number of flushes that have begun the seal. */
  timesTaken: number;
  /** Rows that ClickHouse rejects. They go into quarantine. */
  skip: SkipList;
  batches: BufferedBatch[];
};

export type SealOutcome =
  | { outcome: 'sealed' | 'taken-over'; seal: Seal }
  | { outcome: 'empty' | 'unknown' }
  | { outcome: 'waits'; retryIn_ms: number }
  /** `published`: another flush published the seal before this one had read it. */
  | { outcome: 'fenced'; what: 'published' | 'gap' | 'other-batches' };

type Reply =
  | [
      'sealed' | 'taken-over',
      number,
      string,
      number,
      number,
      string,
      number,
      number,
      number,
      timesTaken: number,
      skip: string,
      batches: BatchReply[],
    ]
  | ['empty' | 'unknown']
  | ['waits', number]
  | ['fenced', 'gap' | 'other-batches'];

/**
 * Fixes the next range to flush, or takes over the existing seal. The seal is on the configured replicas before this returns,
 * because a failover without it could give its sequences to other rows.
 *
 * @param isForced ignores the wait after a failed flush
 * @param bytesMax size of a new seal; an existing seal keeps its size
 * @throws StoreError if Redis or its replicas are unavailable
 */
export async function sealLane(
  ctx: BufferDeps,
  table: Table,
  lane: number,
  settingsVersion: number,
  isForced: boolean,
  bytesMax = ctx.config.limits.flush_bytes_max,
): Promise<SealOutcome> {
  const { keys, config } = ctx;
  const { limits } = config;
  const laneKeys = { state: keys.state(table, lane), log: keys.log(table, lane) };
  const args = {
    lane,
    flush_rows_max: limits.flush_rows_max,
    flush_bytes_max: bytesMax,
    flush_partitions_max: limits.flush_partitions_max,
    flush_cells_max: limits.flush_cells_max,
    flush_batches_max: limits.flush_batches_max,
    settingsVersion,
    isForced: isForced ? '1' : '',
    reply_bytes_max: pageBytes(limits),
    flush_meta_bytes_max: limits.flush_meta_bytes_max,
    callId: crypto.randomUUID().slice(0, 8),
  };
  const needed = config.BUFFER_WAIT_REPLICAS;
  const { reply, replicas } =
    needed === 0
      ? { reply: await runScript<Reply>(ctx.redis, sealScript, laneKeys, args), replicas: 0 }
      : await runScriptAndWait<Reply>(ctx.redis, sealScript, laneKeys, args, {
          replicas: needed,
          timeout_ms: limits.replicas_timeout_ms,
        });
  switch (reply[0]) {
    case 'fenced':
      return { outcome: 'fenced', what: reply[1] };
    case 'waits':
      return { outcome: 'waits', retryIn_ms: reply[1] };
    case 'sealed':
    case 'taken-over': {
      if (replicas < needed) {
        throw new StoreError('redis', `has the seal on ${replicas} of ${needed} replicas so far`, undefined);
      }
      const [outcome, epoch, token, from, to, incarnation, rows, bytes, version, timesTaken, skip, first] = reply;
      const batches = await readWholeSeal(ctx, table, lane, { epoch, token, from, to }, first.map(bufferedBatch));
      if (typeof batches === 'string') return { outcome: 'fenced', what: batches };
      return {
        outcome,
        seal: {
          epoch,
          token,
          from,
          to,
          incarnation,
          rows,
          bytes,
          timesTaken,
          settingsVersion: version,
          skip: parseSkip(skip),
          batches,
        },
      };
    }
    default:
      return { outcome: reply[0] };
  }
}
