import { setTimeout as delay } from 'node:timers/promises';
import { errors, Redis as Upstash } from '@upstash/redis/cloudflare';
import { backoff_ms } from '../../core/backoff.ts';
import type { Config } from '../../core/config.ts';
import { StoreError } from '../../core/errors.ts';
import type { Limits } from '../../core/limits.ts';
import { inOrder, type Script } from './script.ts';

type InTurn = { result?: unknown; error?: string }[];

const retries = 2;
const retry_ms = 50;
const retry_ms_max = 1_000;
const retryPause_ms = (attempt: number) => backoff_ms(attempt, retry_ms, retry_ms_max);

/**
 * The client of the hot buffer: the official one with additions. Every command must be safe to repeat, because the client
 * retries.
 */
export class Redis extends Upstash {
  private readonly config: Config;
  /** False after the server has rejected a script with a flags line. */
  takesFlags = true;

  constructor(config: Config) {
    super({
      url: config.UPSTASH_REDIS_REST_URL,
      token: config.UPSTASH_REDIS_REST_TOKEN,
      retry: { retries, backoff: retryPause_ms },
      // A function, because the client treats the abort of a plain signal as a response.
      signal: () => AbortSignal.timeout(config.limits.redis_timeout_ms),
      // Raw replies: the client would parse and round numbers beyond 2^53 in payloads.
      automaticDeserialization: false,
      responseEncoding: false,
      // Scripts run on the primary, so a sync token adds nothing.
      readYourWrites: false,
      enableAutoPipelining: false,
      enableTelemetry: false,
    });
    this.config = config;
  }

  /** Runs commands in order on one connection. A rejected command has an error as its reply. */
  async inTurn(commands: (string | number)[][]): Promise<InTurn> {
    return (await this.client.request({ path: ['pipeline'], body: commands })) as unknown as InTurn;
  }

  /**
   * EVALSHA with its only argument as the raw request body. As JSON every quote of it would be escaped and unescaped. See "JSON or Binary Value" in https://upstash.com/docs/redis/features/restapi
   */
  async evalshaWithBody(sha1: string, keys: string[], argument: string): Promise<unknown> {
    const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token, limits } = this.config;
    const path = ['evalsha', sha1, keys.length, ...keys].map(encodeURIComponent).join('/');
    const signal = AbortSignal.timeout(limits.redis_timeout_ms);
    const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/octet-stream' };
    const send = () => fetch(`${url.replace(/\/$/, '')}/${path}`, { method: 'POST', headers, body: argument, signal });
    let response: Response | undefined;
    for (let attempt = 0; response === undefined; attempt += 1) {
      response = await send().catch(async (error) => {
        if (attempt === retries || signal.aborted) throw error;
        await delay(retryPause_ms(attempt));
        return undefined;
      });
    }
    const { result, error } = (await response.json()) as InTurn[number];
    if (error !== undefined) throw new errors.UpstashError(error);
    return result;
  }
}

/** Shorter arguments are sent as JSON, where escapes cost little. */
const body_chars_min = 4096;

/** Keys that need no escapes in a URL path. */
const plainKey = /^[\w.:{}~-]+$/;

/**
 * Maximum bytes of batches in one reply: JSON needs two bytes for a quote, a backslash or a line break, and one for any other
 * byte.
 */
export function pageBytes({ redis_wire_bytes_max }: Limits): number {
  return Math.floor(redis_wire_bytes_max / 2);
}

/**
 * Scripts that begin with `#!lua flags=allow-oom` also run at the memory limit of the server: they remove pending rows, which
 * frees memory. Servers before Redis 7 reject that line before they run the script. They get the script without it, and reject
 * it at their limit like any other write.
 */
async function withFlags<Reply>(redis: Redis, asked: Script, run: (known: Script) => Promise<Reply>): Promise<Reply> {
  const { plain } = asked;
  if (plain === undefined) return await run(asked);
  if (!redis.takesFlags) return await run(plain);
  try {
    return await run(asked);
  } catch (error) {
    const cause = error instanceof StoreError ? error.cause : undefined;
    if (!(cause instanceof Error && flagsRefused.test(cause.message))) throw error;
    redis.takesFlags = false;
    return await run(plain);
  }
}

const flagsRefused = /compiling script|shebang|near '#|unexpected symbol/i;

/** Names of Redis keys, and arguments, by the names that a script binds them to. */
export type Keys = Record<string, string | string[] | undefined>;
type Args = Record<string, string | number | (string | number)[]>;

/**
 * Runs a script by its hash, or by its source if Redis does not know the hash.
 *
 * @throws StoreError if Redis is unavailable or rejects the script
 */
export async function runScript<Reply>(redis: Redis, asked: Script, keys: Keys, args: Args = {}): Promise<Reply> {
  const keyNames = inOrder(asked.keys, keys);
  const values = inOrder(asked.args, args);
  const [first, ...others] = values;
  const isLarge = typeof first === 'string' && first.length >= body_chars_min && others.length === 0;
  return await withFlags(redis, asked, async ({ source, sha1 }) => {
    try {
      if (isLarge && keyNames.every((key) => plainKey.test(key))) {
        return (await redis.evalshaWithBody(sha1, keyNames, first)) as Reply;
      }
      return await redis.evalsha<(string | number)[], Reply>(sha1, keyNames, values);
    } catch (error) {
      if (!(error instanceof Error && error.message.includes('NOSCRIPT'))) throw redisError(error);
    }
    return await ask(() => redis.eval<(string | number)[], Reply>(source, keyNames, values));
  });
}

/**
 * Runs a script, and waits on the same connection until replicas have its writes.
 *
 * @returns the reply of the script, and the number of replicas
 */
export async function runScriptAndWait<Reply>(
  redis: Redis,
  asked: Script,
  keys: Keys,
  args: Args,
  { replicas, timeout_ms }: { replicas: number; timeout_ms: number },
): Promise<{ reply: Reply; replicas: number }> {
  const wait = ['WAIT', replicas, timeout_ms];
  const keyNames = inOrder(asked.keys, keys);
  const rest = [keyNames.length, ...keyNames, ...inOrder(asked.args, args)];
  return await withFlags(redis, asked, async ({ source, sha1 }) => {
    let [ran, waited] = await ask(() => redis.inTurn([['EVALSHA', sha1, ...rest], wait]));
    if (ran?.error?.includes('NOSCRIPT')) {
      [ran, waited] = await ask(() => redis.inTurn([['EVAL', source, ...rest], wait]));
    }
    const refused = ran?.error ?? waited?.error;
    if (refused !== undefined) throw new StoreError('redis', 'refused a command', new Error(refused.slice(0, 500)));
    return { reply: ran?.result as Reply, replicas: Number(waited?.result) };
  });
}

/** Runs commands and converts failures to StoreError. */
export async function ask<Reply>(command: () => Promise<Reply>): Promise<Reply> {
  try {
    return await command();
  } catch (error) {
    throw redisError(error);
  }
}

/** Runs commands in order and returns their replies. Throws StoreError if any command was rejected. */
export async function askInTurn(redis: Redis, commands: (string | number)[][]): Promise<unknown[]> {
  const replies = await ask(() => redis.inTurn(commands));
  const refused = replies.find(({ error }) => error !== undefined)?.error;
  if (refused !== undefined || replies.length !== commands.length) {
    throw new StoreError('redis', 'refused a command', new Error(String(refused).slice(0, 500)));
  }
  return replies.map(({ result }) => result);
}

/** Whether Redis or the hosted service rejected a command for lack of memory. */
export function isMemoryRefusal(error: unknown): boolean {
  const cause = error instanceof StoreError ? error.cause : undefined;
  return cause instanceof Error && /OOM command not allowed|capacity quota exceeded/.test(cause.message);
}

function redisError(error: unknown): StoreError {
  const message = error instanceof Error ? error.message : String(error);
  // The client appends the whole command with its payload to the message.
  const [reason = ''] = message.split(', command was:');
  const refused = error instanceof Error && error.name === 'UpstashError';
  return new StoreError('redis', refused ? 'refused a command' : 'did not answer', new Error(reason.slice(0, 500)));
}
