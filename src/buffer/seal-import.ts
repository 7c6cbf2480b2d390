import { StoreError } from '../core/errors.ts';
import type { Table } from '../schema/table.ts';
import { runScript, runScriptAndWait } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import publishLua from './lua/publish-import.lua';
import sealLua from './lua/seal-import.lua';

const sealScript = script(sealLua);
const publishScript = script(publishLua);

/** The sequences of an import, in a lane without writers. They are fixed until they are published. */
export type ImportSeal = { id: string; lane: number; from: number; to: number; token: string };

/**
 * Fixes the sequences of an import. Idempotent. The seal is on the configured replicas before this returns.
 *
 * @throws StoreError if Redis or its replicas are unavailable
 */
export async function sealImport(ctx: BufferDeps, table: Table, seal: ImportSeal): Promise<Sealed> {
  const { id, lane, from, to, token } = seal;
  const keys = { state: ctx.keys.state(table, lane), firstState: ctx.keys.state(table, 0) };
  const { BUFFER_WAIT_REPLICAS: needed, limits } = ctx.config;
  const args = { lane, from, to, token, importId: id };
  if (needed === 0) return sealed(await runScript<Reply>(ctx.redis, sealScript, keys, args));
  const wait = { replicas: needed, timeout_ms: limits.replicas_timeout_ms };
  const { reply, replicas } = await runScriptAndWait<Reply>(ctx.redis, sealScript, keys, args, wait);
  if (replicas < needed) {
    throw new StoreError('redis', `has the seal on ${replicas} of ${needed} replicas so far`, undefined);
  }
  return sealed(reply);
}

type Outcome = 'sealed' | 'published' | 'busy' | 'moved' | 'lanes' | 'unknown';
type Reply = [Outcome, watermark?: number];

/** `busy`: the lane has another seal or pending rows; `moved`: the lane has advanced to this watermark. */
export type Sealed = { outcome: Outcome; watermark?: number | undefined };

const sealed = ([outcome, watermark]: Reply): Sealed => ({ outcome, watermark });

/** Makes an import visible to readers atomically. All its rows must have been counted in ClickHouse. */
export async function publishImport(
  ctx: BufferDeps,
  table: Table,
  { lane, to, token }: ImportSeal,
  { latest_ms, receivedAt_ms }: { latest_ms: number; receivedAt_ms: number },
): Promise<'published' | 'already' | 'fenced' | 'unknown'> {
  const keys = { state: ctx.keys.state(table, lane), firstState: ctx.keys.state(table, 0) };
  const args = { lane, token, to, latest_ms, schemaVersion: table.schema.version, received_ms: receivedAt_ms };
  const [outcome] = await runScript<['published' | 'already' | 'fenced' | 'unknown']>(
    ctx.redis,
    publishScript,
    keys,
    args,
  );
  return outcome;
}
