import type { Table } from '../schema/table.ts';
import { ask } from '../stores/redis/client.ts';
import { parsePlan } from './chunk-plan.ts';
import type { BufferDeps } from './deps.ts';
import type { StagedBatch } from './stage.ts';

/** The stored part of a request hash: 128 bits of a SHA-256 in hex. */
const hash_chars = 32;

export function shortHash(hash: string): string {
  return hash.slice(0, hash_chars);
}

/** A new batch id of 96 random bits. */
export function newBatchId(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(12))).toString('base64url');
}

/** The batch of an idempotency key. `stage.lua` writes the record. */
export type KeyedBatch = StagedBatch & { requestHash: string };

const recordPattern = /^(\S+) (\d+) (\S+) (\d+) (\d+) (\d+) (\S*) (\d*) (.*)$/s;

function parseRecord(text: string): KeyedBatch {
  const [, id, rows, inc, seq, at, lane, plan, , hash] = recordPattern.exec(text) ?? [];
  if (id !== undefined) {
    return {
      requestHash: hash ?? '',
      batchId: id,
      rows: Number(rows),
      lane: Number(lane),
      incarnation: inc ?? '',
      seq: Number(seq),
      receivedAt_ms: Number(at),
      plan: parsePlan(plan || String(rows)),
    };
  }
  // The format of earlier versions.
  const old = JSON.parse(text);
  return {
    requestHash: shortHash(old.hash),
    batchId: old.id,
    rows: old.rows,
    lane: old.lane,
    incarnation: old.inc,
    seq: old.seq,
    receivedAt_ms: old.at,
    plan: parsePlan(old.plan),
  };
}

/** The batch of an idempotency key that has not expired. Throws StoreError. */
export async function findKeyedBatch(ctx: BufferDeps, table: Table, key: string): Promise<KeyedBatch | undefined> {
  const text = await ask(() => ctx.redis.get<string>(ctx.keys.idem(table, key)));
  return text === null ? undefined : parseRecord(text);
}

/** The batches of several keys, read atomically; undefined for each expired key. Throws StoreError. */
export async function findKeyedBatches(
  ctx: BufferDeps,
  table: Table,
  idempotencyKeys: string[],
): Promise<(KeyedBatch | undefined)[]> {
  const names = idempotencyKeys.map((key) => ctx.keys.idem(table, key));
  const texts = await ask(() => ctx.redis.mget<(string | null)[]>(names));
  return texts.map((text) => (text === null ? undefined : parseRecord(text)));
}
