import type { Table } from '../schema/table.ts';
import { runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import auditLaneLua from './lua/audit-lane.lua';

const auditLaneScript = script(auditLaneLua);

/** Batches and rows of a lane: expected by its state, and found in its log. */
export type LaneSums = {
  batches: { expected: number; found: number };
  rows: { expected: number; found: number };
  isWhole: boolean;
};

/** Counts the pending batches and rows of a lane atomically. Undefined if the lane has no state. */
export async function sumLane(ctx: BufferDeps, table: Table, lane: number): Promise<LaneSums | undefined> {
  const reply = await runScript<[number, number, number, number, 'whole' | 'broken'] | ['unknown']>(
    ctx.redis,
    auditLaneScript,
    { state: ctx.keys.state(table, lane), log: ctx.keys.log(table, lane) },
  );
  if (reply[0] === 'unknown') return undefined;
  const [batchesExpected, batches, rowsExpected, rows, order] = reply as [number, number, number, number, string];
  return {
    batches: { expected: batchesExpected, found: batches },
    rows: { expected: rowsExpected, found: rows },
    isWhole: order === 'whole' && batchesExpected === batches && rowsExpected === rows,
  };
}
