import { ask, runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import noteStoredLua from './lua/note-stored.lua';
import setQuotaLua from './lua/set-quota.lua';

const setQuotaScript = script(setQuotaLua);
const noteStoredScript = script(noteStoredLua);

/** What a dataset may take; no limit where one is left out. Bytes are those of the rows as they are buffered. */
export type Quota = {
  /** Of each day in UTC. */
  rowsPerDay?: number | undefined;
  bytesPerDay?: number | undefined;
  /** On ClickHouse's disks when they were last looked at, and buffered since. */
  storageBytes?: number | undefined;
};

/** What a dataset may take and what is left of it, at one moment. */
export type QuotaLeft = {
  /** Until a new day begins. */
  resetIn_ms: number;
  left: { name: keyof Quota; limit: number; left: number }[];
};

type Pair = [limit: number | '', left: number | ''];
export type QuotaReply = [resetIn_ms: number, ...Pair, ...Pair, ...Pair];

export function quotaLeft([resetIn_ms, ...pairs]: QuotaReply): QuotaLeft {
  const left = (['rowsPerDay', 'bytesPerDay', 'storageBytes'] as const).flatMap((name, i) => {
    const limit = pairs[2 * i];
    return limit === '' ? [] : [{ name, limit: Number(limit), left: Number(pairs[2 * i + 1]) }];
  });
  return { resetIn_ms, left };
}

/**
 * `RateLimit` and `RateLimit-Policy`, as the IETF's draft has them (draft-ietf-httpapi-ratelimit-headers): what is left,
 * and for how many seconds.
 */
export function quotaHeaders({ resetIn_ms, left }: QuotaLeft): Record<string, string> {
  const policies = left.map(({ name, limit }) => `"${name}";q=${limit}${name === 'storageBytes' ? '' : ';w=86400'}`);
  const states = left.map(({ name, left: rest }) => {
    return `"${name}";r=${rest}${name === 'storageBytes' ? '' : `;t=${Math.ceil(resetIn_ms / 1000)}`}`;
  });
  return { 'RateLimit-Policy': policies.join(', '), RateLimit: states.join(', ') };
}

/**
 * Tells the hot buffer a dataset's quota. `revision` of the record, so that an older one does not replace a newer one.
 *
 * @returns the newer revision that is set already, or 0
 */
export async function setQuota(ctx: BufferDeps, dataset: string, revision: number, quota: Quota): Promise<number> {
  const {
    rowsPerDay: day_rows_max = '',
    bytesPerDay: day_bytes_max = '',
    storageBytes: storage_bytes_max = '',
  } = quota;
  const args = { revision, day_rows_max, day_bytes_max, storage_bytes_max };
  return await runScript(ctx.redis, setQuotaScript, { quota: ctx.keys.quota(dataset) }, args);
}

/** What a dataset has taken. */
export type Usage = {
  rowsToday: number;
  bytesToday: number;
  storedBytes: number;
  bytesSince: number;
  /** Names the look at ClickHouse that `storedBytes` is of; '' before the first. */
  look: string;
};

export async function readUsage(ctx: BufferDeps, dataset: string): Promise<Usage> {
  const reply = await ask(() =>
    ctx.redis.hmget<Record<string, string | null>>(
      ctx.keys.quota(dataset),
      'day',
      'rows',
      'bytes',
      'stored',
      'since',
      'look',
    ),
  );
  // Without the client's own reading of it, the reply is the list of values.
  const [day, rows, bytes, stored, since, look] = (reply as unknown as (string | null)[] | null) ?? [];
  const isToday = Number(day ?? -1) === Math.floor(ctx.now() / 86_400_000);
  return {
    rowsToday: isToday ? Number(rows ?? 0) : 0,
    bytesToday: isToday ? Number(bytes ?? 0) : 0,
    storedBytes: Number(stored ?? 0),
    bytesSince: Number(since ?? 0),
    look: look ?? '',
  };
}

/**
 * Goes on from what ClickHouse was seen to hold of a dataset. What was buffered before the look is in it or still pending.
 *
 * @param before what the dataset had taken when the look began
 */
export async function noteStored(
  ctx: BufferDeps,
  dataset: string,
  bytes: number,
  { look, bytesSince }: Pick<Usage, 'look' | 'bytesSince'>,
): Promise<void> {
  const args = {
    before: look,
    look: crypto.randomUUID(),
    stored_bytes: Math.round(bytes),
    buffered_bytes: bytesSince,
  };
  await runScript(ctx.redis, noteStoredScript, { quota: ctx.keys.quota(dataset) }, args);
}
