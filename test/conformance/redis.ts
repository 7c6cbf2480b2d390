import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setUpLane } from '../../src/buffer/set-up.ts';
import { script } from '../../src/stores/redis/script.ts';
import { must, type Probe } from './probe.ts';

const src = join(import.meta.dirname, '..', '..', 'src');
const scripts = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.lua') && !name.startsWith('stores/redis/lua/'))
  .map((name) => ({ name, source: script(readFileSync(join(src, name), 'utf8')).source }));

/** Bytes of a request and of its reply: what the limit `redis_wire_bytes_max` counts on, escapes included. */
const large_bytes = 9_000_000;

export const redisProbes: Probe[] = [
  {
    store: 'redis',
    what: 'answers, and says which version it is',
    fix: 'Check UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN: the REST address and the token that may write.',
    async run({ ctx }) {
      const [reply] = await ctx.redis.inTurn([['INFO']]);
      const text = String(reply?.result ?? '');
      must(text !== '', `INFO answers nothing: ${reply?.error ?? ''}`);
      return /^(?:redis|upstash|valkey)_version:(\S+)/m.exec(text)?.[0].replace(':', ' ');
    },
  },
  {
    store: 'redis',
    what: 'evicts nothing',
    fix: 'Switch eviction off (maxmemory-policy noeviction): with it, acknowledged rows disappear when memory is short.',
    async run({ ctx }) {
      const [reply] = await ctx.redis.inTurn([['INFO']]);
      const policy = /^maxmemory_policy:(\S+)/m.exec(String(reply?.result ?? ''))?.[1];
      must(policy === undefined || policy === 'noeviction', `maxmemory_policy is ${policy}`);
      return policy ?? 'not told by INFO: look into the console';
    },
  },
  {
    store: 'redis',
    what: 'takes every script, with its line of flags',
    fix: 'Scripts need Redis 7, Valkey 7 or Upstash. Without flags a full buffer cannot drain; any other refusal stops the product.',
    async run({ ctx }) {
      const replies = await ctx.redis.inTurn(scripts.map(({ source }) => ['SCRIPT', 'LOAD', source]));
      const refused = scripts.flatMap(({ name }, i) =>
        replies[i]?.error === undefined ? [] : [`${name}: ${replies[i].error}`],
      );
      must(refused.length === 0, refused.slice(0, 3).join('; '));
      return `${scripts.length} scripts`;
    },
  },
  {
    store: 'redis',
    what: 'runs a script by its hash, and by its text where it has not seen it',
    fix: 'EVALSHA and EVAL must be allowed to the token; a read-only token is not enough.',
    async run({ ctx, id }) {
      const source = `return {KEYS[1], ARGV[1], '${id}'}`;
      const unknown = await ctx.redis.evalsha('0'.repeat(40), [], []).catch((error: Error) => error.message);
      must(String(unknown).includes('NOSCRIPT'), `an unknown hash answers ${unknown}, not NOSCRIPT`);
      must(
        String(await ctx.redis.eval(source, [`${id}:a`], ['b'])) === `${id}:a,b,${id}`,
        'EVAL answers something else',
      );
      return undefined;
    },
  },
  {
    store: 'redis',
    what: 'takes requests and gives replies of 9 MB',
    fix: 'The plan must allow requests and records of 10 MB, or set TIMESTORE_REDIS_WIRE_BYTES_MAX and the limits of chunks and flushes lower.',
    async run({ ctx, id }) {
      const value = 'x'.repeat(large_bytes);
      await ctx.redis.set(`${id}:large`, value);
      must((await ctx.redis.get<string>(`${id}:large`)) === value, 'it comes back changed');
      await ctx.redis.del(`${id}:large`);
      return undefined;
    },
  },
  {
    store: 'redis',
    what: 'keeps streams, trims them exactly, and pages through them',
    fix: 'Streams (XADD with an id, XRANGE, XTRIM MINID) are what rows wait in; use a server that has them.',
    async run({ ctx, id }) {
      const key = `${id}:stream`;
      for (const n of [1, 2, 3]) await ctx.redis.inTurn([['XADD', key, `${n}-0`, 'p', `row ${n}`]]);
      const [repeated, trimmed, left] = await ctx.redis.inTurn([
        ['XADD', key, '3-0', 'p', 'again'],
        ['XTRIM', key, 'MINID', '=', '3-0'],
        ['XRANGE', key, '-', '+'],
      ]);
      must(repeated?.error !== undefined, 'an id is given twice');
      must(
        Number(trimmed?.result) === 2 && JSON.stringify(left?.result).includes('3-0'),
        'XTRIM does not trim exactly',
      );
      return undefined;
    },
  },
  {
    store: 'redis',
    what: 'forgets keys at their time, and not before',
    fix: 'SET with PX and PXAT is how idempotency keys and leases end.',
    async run({ ctx, id }) {
      const [set, again, left] = await ctx.redis.inTurn([
        ['SET', `${id}:key`, 'a', 'NX', 'PX', 60_000],
        ['SET', `${id}:key`, 'b', 'NX', 'PX', 60_000],
        ['PTTL', `${id}:key`],
      ]);
      must(set?.result === 'OK' && again?.result === null, 'SET NX is not kept');
      must(Number(left?.result) > 50_000 && Number(left?.result) <= 60_000, `PTTL answers ${left?.result}`);
      return undefined;
    },
  },
  {
    store: 'redis',
    what: 'waits for replicas',
    fix: 'BUFFER_WAIT_REPLICAS asks for more replicas than answer: lower it, or add replicas.',
    async run({ ctx, id }) {
      const needed = ctx.config.BUFFER_WAIT_REPLICAS;
      const [, waited] = await ctx.redis.inTurn([
        ['SET', `${id}:waited`, 'a'],
        ['WAIT', needed, 2_000],
      ]);
      must(waited?.error === undefined, `WAIT: ${waited?.error}`);
      must(Number(waited?.result) >= needed, `${waited?.result} of ${needed} replicas have a write after 2 s`);
      return `${waited?.result} replicas`;
    },
  },
  {
    store: 'redis',
    what: 'begins a lane',
    fix: 'See the words: the script that creates a lane was refused.',
    async run({ ctx, table }) {
      await setUpLane(ctx, table, 0, { incarnation: 'conform', watermark: 0 });
      return undefined;
    },
  },
];
