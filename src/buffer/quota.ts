import { ask, runScript } from '../stores/redis/client.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import noteStoredLua from './lua/note-stored.lua';
import setQuotaLua from './lua/set-quota.lua';

const setQuotaScript = script(setQuotaLua);
const noteStoredScript = script(noteStoredLua);

/** The quota of a dataset; an absent member is no limit. Bytes are those of buffered rows. */
export type Quota = {
  /** Per day in UTC. */
  rowsPerDay?: number | undefined;
  bytesPerDay?: number | undefined;
  /** Bytes on the disks of ClickHouse at the last measurement, and bytes buffered since. */
  storageBytes?: number | undefined;
};

/** The quota of a dataset and the rest of it. */
export type QuotaLeft = {
  /** Time until the next day (UTC). */
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
 * The headers `RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers: the rest of each quota, and the
 * seconds until its reset.
 */
export function quotaHeaders({ resetIn_ms, left }: QuotaLeft): Record<string, string> {
  const policies = left.map(({ name, limit }) => `"${name}";q=${limit}${name === 'storageBytes' ? '' : ';w=86400'}`);
  const states = left.map(({ name, left: rest }) => {
    return `"${name}";r=${rest}${name === 'storageBytes' ? '' : `;t=${Math.ceil(resetIn_ms / 1000)}`}`;
  });
  return { 'RateLimit-Policy': policies.join(', '), RateLimit: states.join(', ') };
}

/**
 * Writes the quota of a dataset to the hot buffer. An older revision of the record never replaces a newer one.
 *
 * @returns the newer revision that is already set, or 0
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

/** The usage of a dataset. */
export type Usage = {
  rowsToday: number;
  bytesToday: number;
  storedBytes: number;
  bytesSince: number;
  /** Id of the measurement of `storedBytes`; '' before the first. */
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
  // Deserialisation is off, so the reply is the list of values.
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
 * Stores a measurement of a dataset's bytes in ClickHouse. Rows buffered before the measurement are in it, or still pending.
 *
 * @param before the usage when the measurement began
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
