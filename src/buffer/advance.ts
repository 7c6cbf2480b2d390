import type { Table } from '../schema/table.ts';
import { runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import advanceLua from './lua/advance.lua';
import type { LaneSnapshot } from './snapshot.ts';

const advanceScript = script(advanceLua);

/**
 * Moves the watermark of an idle lane to a later batch whose rows, like all rows before, are in ClickHouse. Does nothing if the
 * lane has changed since the snapshot.
 *
 * @param latest_ms the latest event time of these rows
 * @returns whether the watermark was moved
 * @throws StoreError if Redis is unavailable
 */
export async function advanceLane(
  ctx: BufferDeps,
  table: Table,
  seen: LaneSnapshot,
  { watermark, receivedAt_ms, latest_ms }: { watermark: number; receivedAt_ms: number; latest_ms: number },
): Promise<boolean> {
  const [outcome] = await runScript<['advanced' | 'other']>(
    ctx.redis,
    advanceScript,
    { state: ctx.keys.state(table, seen.lane) },
    {
      incarnation: seen.incarnation,
      seenWatermark: seen.watermark,
      watermark,
      received_ms: receivedAt_ms,
      latest_ms,
    },
  );
  return outcome === 'advanced';
}
