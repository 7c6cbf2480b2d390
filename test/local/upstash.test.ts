import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { Redis, type RedisConfigNodejs } from '@upstash/redis';
import { describe, expect, test } from 'vitest';
import { openConnections } from '../../local/engines/upstash/connections.ts';
import { upstashServer } from '../../local/engines/upstash/server.ts';
import { until, useStack } from './support.ts';

const stack = useStack();

function client(options: Partial<RedisConfigNodejs> = {}): Redis {
  const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = stack().env;
  return new Redis({ url, token, enableTelemetry: false, retry: false, ...options });
}

function request(path: string, init: RequestInit = {}): Promise<Response> {
  const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = stack().env;
  return fetch(`${url}${path}`, { ...init, headers: { authorization: `Bearer ${token}`, ...init.headers } });
}

const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  request(path, { method: 'POST', body: JSON.stringify(body), headers });

const text = 'grüße 🚀 \u0000 "quoted" \\ \n end';

describe.each([
  ['base64', { responseEncoding: 'base64' }],
  ['plain', { responseEncoding: false }],
] as const)('the official client with %s answers', (encoding, options) => {
  const key = (name: string) => `${encoding}:${name}`;

  test('gets back the text it set, with emoji, quotes and NUL', async () => {
    const redis = client(options);
    expect(await redis.set(key('text'), text)).toBe('OK');
    expect(await redis.get(key('text'))).toBe(text);
    expect(await redis.get(key('absent'))).toBeNull();
  });

  test('reads a value that is "OK" or looks like base64 as itself', async () => {
    const redis = client(options);
    await redis.mset({ [key('ok')]: 'OK', [key('b64')]: 'YmFy' });
    expect(await redis.get(key('ok'))).toBe('OK');
    expect(await redis.mget(key('ok'), key('b64'))).toEqual(['OK', 'YmFy']);
    expect(await redis.ping()).toBe('PONG');
  });

  test('uses hashes, sorted sets and streams', async () => {
    const redis = client({ ...options, automaticDeserialization: false });
    expect(await redis.hset(key('hash'), { a: '1', b: text })).toBe(2);
    expect(await redis.hmget(key('hash'), 'b', 'none')).toEqual([text, null]);
    expect(await redis.hincrby(key('hash'), 'a', 41)).toBe(42);
    await redis.zadd(key('zset'), { score: 2, member: 'two' }, { score: 1, member: 'one' });
    expect(await redis.zrange(key('zset'), 0, -1)).toEqual(['one', 'two']);
    expect(await redis.xadd(key('stream'), '1-0', { rows: text })).toBe('1-0');
    expect(await redis.xadd(key('stream'), '2-0', { rows: 'second' })).toBe('2-0');
    expect(await redis.xrange(key('stream'), '-', '+')).toEqual([
      ['1-0', ['rows', text]],
      ['2-0', ['rows', 'second']],
    ]);
    expect(await redis.xtrim(key('stream'), { strategy: 'MINID', exactness: '=', threshold: '2-0' })).toBe(1);
    expect(await redis.xlen(key('stream'))).toBe(1);
  });

  test('runs scripts, and loads them when Redis does not know them', async () => {
    const redis = client(options);
    const source = `redis.call('SET', KEYS[1], ARGV[1]); return {1, 'two', {redis.call('GET', KEYS[1])}, '${encoding}'}`;
    const script = redis.createScript<unknown>(source);
    const expected = [1, 'two', [text], encoding];
    await expect(script.evalsha([key('script')], [text])).rejects.toThrow('NOSCRIPT');
    expect(await script.exec([key('script')], [text])).toEqual(expected);
    expect(await script.evalsha([key('script')], [text])).toEqual(expected);
    expect(await redis.eval(source, [key('script')], [text])).toEqual(expected);
    await redis.scriptFlush();
    await expect(script.evalsha([key('script')], [text])).rejects.toThrow('NOSCRIPT');
  });

  test('runs pipelines and transactions', async () => {
    const redis = client(options);
    for (const batch of [redis.pipeline(), redis.multi()]) {
      batch.set(key('n'), 1);
      batch.incr(key('n'));
      batch.get(key('n'));
      batch.lpush(key(`list${Math.random()}`), text);
      expect(await batch.exec()).toEqual(['OK', 2, 2, 1]);
    }
  });

  test('sees the errors of a pipeline one by one', async () => {
    const redis = client(options);
    const pipeline = redis.pipeline().set(key('word'), 'x').incr(key('word')).get(key('word'));
    const [set, increment, got] = await pipeline.exec({ keepErrors: true });
    expect(set).toMatchObject({ result: 'OK' });
    expect(increment.error).toMatch(/^ERR value is not an integer/);
    expect(got).toMatchObject({ result: 'x' });
  });
});

test('integers beyond 2^53 are exact in both directions', async () => {
  const redis = client({ automaticDeserialization: false });
  expect(await redis.set('big', '9007199254740993')).toBe('OK');
  expect(await redis.get('big')).toBe('9007199254740993');
  const increment = await post('/', ['INCRBY', 'big', '2']);
  expect(await increment.text()).toBe('{"result":9007199254740995}');
  const nested = await post('/', ['EVAL', 'return {9007199254740993, -9223372036854775807}', 0]);
  expect(await nested.text()).toBe('{"result":[9007199254740992,-9223372036854775808]}');
  const number = await request('/', { method: 'POST', body: '["SET","raw",9007199254740993]' });
  expect(await number.json()).toEqual({ result: 'OK' });
  expect(await redis.get('raw')).toBe('9007199254740993');
});

test('only the plain result "OK" is sent without base64', async () => {
  const base64 = { 'upstash-encoding': 'base64' };
  const answer = async (...command: string[]) => (await post('/', command, base64)).json();
  expect(await answer('SET', 'encoded', 'bar')).toEqual({ result: 'OK' });
  expect(await answer('GET', 'encoded')).toEqual({ result: 'YmFy' });
  expect(await answer('EVAL', "return {'OK', 7, {'bar'}, false}", '0')).toEqual({
    result: ['T0s=', 7, ['YmFy'], null],
  });
  const batch = await post(
    '/pipeline',
    [
      ['GET', 'encoded'],
      ['SET', 'encoded', 'x'],
    ],
    base64,
  );
  expect(await batch.json()).toEqual([{ result: 'YmFy' }, { result: 'OK' }]);
});

test('bytes that are no UTF-8 survive, sent as a body and read as base64', async () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, at) => at);
  const set = await request('/set/bytes?EX=100', { method: 'POST', body: bytes });
  expect(await set.json()).toEqual({ result: 'OK' });
  const got = await request('/get/bytes', { headers: { 'upstash-encoding': 'base64' } });
  const { result } = (await got.json()) as { result: string };
  expect(Buffer.from(result, 'base64')).toEqual(Buffer.from(bytes));
  expect(await (await request('/ttl/bytes')).json()).toEqual({ result: 100 });
});

test('a value of 9 MiB goes in and out', async () => {
  const redis = client({ automaticDeserialization: false, responseEncoding: false });
  const value = 'ü0123456789'.repeat(780_000);
  await redis.set('large', value);
  expect((await redis.get<string>('large')) === value).toBe(true);
});

test('a request or a reply of more than 10 MiB is refused in the words of the hosted service', async () => {
  const refused = (actual: unknown) => ({
    error: `ERR max request size exceeded. Limit: 10485760 bytes, Actual: ${actual} bytes`,
  });
  const body = JSON.stringify(['SET', 'larger', 'x'.repeat(10 * 1024 * 1024)]);
  const request_ = await request('/', { method: 'POST', body });
  expect([request_.status, await request_.json()]).toEqual([400, refused(body.length)]);
  expect(await (await request('/exists/larger')).json()).toEqual({ result: 0 });

  // Short where it is, and longer where its quotes are escaped.
  for (const key of ['half', 'other']) await request(`/set/${key}`, { method: 'POST', body: '"'.repeat(3_000_000) });
  expect((await post('/', ['GET', 'half'])).status).toBe(200);
  const reply = await post('/', ['MGET', 'half', 'other']);
  expect([reply.status, await reply.json()]).toEqual([400, refused('{"result":["",""]}'.length + 4 * 3_000_000)]);
  const inTurn = await post('/pipeline', [
    ['GET', 'half'],
    ['GET', 'other'],
    ['SET', 'ran', '1'],
  ]);
  expect(inTurn.status).toBe(400);
  expect(await (await request('/get/ran')).json()).toEqual({ result: '1' });
});

test('the limit of a front is what it is started with', async () => {
  const connections = openConnections(stack().urls.redis);
  const server = upstashServer(connections, 'token', 1_000);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const send = async (command: string[]) => {
    const headers = { authorization: 'Bearer token' };
    return (await fetch(`http://127.0.0.1:${port}`, { method: 'POST', headers, body: JSON.stringify(command) })).status;
  };
  try {
    expect(await send(['ECHO', 'x'.repeat(900)])).toBe(200);
    expect(await send(['ECHO', 'x'.repeat(1_000)])).toBe(400);
  } finally {
    server.closeAllConnections();
    server.close();
    connections.close();
  }
});

test('WAIT answers for the writes of its own pipeline and delays no other client', async () => {
  const redis = client();
  const slow = post('/pipeline', [
    ['SET', 'waited', '1'],
    ['WAIT', '1', '3000'],
  ]);
  let waited = false;
  void slow.then(() => {
    waited = true;
  });
  await until('the write before WAIT is there', async () => (await redis.get('waited')) === 1);
  for (let n = 0; n < 5; n += 1) await redis.incr('meanwhile');
  expect(waited).toBe(false);
  expect(await (await slow).json()).toEqual([{ result: 'OK' }, { result: 0 }]);
});

test('a wrong or missing token is refused with 401', async () => {
  await expect(client({ token: 'wrong' }).get('x')).rejects.toThrow('WRONGPASS');
  const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = stack().env;
  const missing = await fetch(`${url}/ping`);
  expect([missing.status, Object.keys((await missing.json()) as object)]).toEqual([401, ['error']]);
  expect((await fetch(`${url}/ping?_token=${token}`)).status).toBe(200);
});

test('what Redis refuses is a 400 with its own words', async () => {
  await post('/', ['SET', 'word', 'x']);
  const refused = await post('/', ['HGET', 'word', 'field']);
  expect(refused.status).toBe(400);
  expect(await refused.json()).toEqual({ error: 'WRONGTYPE Operation against a key holding the wrong kind of value' });
  for (const body of ['{', '{}', '[]', '[["SET"]]', '["SET",null]', '["SUBSCRIBE","x"]', '["MULTI"]']) {
    const answer = await request('/', { method: 'POST', body });
    expect([answer.status, await answer.json()]).toEqual([400, { error: expect.stringMatching(/^ERR /) }]);
  }
});

test('a transaction with a command that does not exist does nothing at all', async () => {
  await post('/', ['DEL', 'untouched']);
  const refused = await post('/multi-exec', [['SET', 'untouched', '1'], ['NOSUCHCOMMAND']]);
  expect([refused.status, await refused.json()]).toEqual([
    400,
    { error: expect.stringMatching(/^ERR unknown command/) },
  ]);
  expect(await (await request('/exists/untouched')).json()).toEqual({ result: 0 });
});

test('the commands of one transaction are never interleaved with those of others', async () => {
  const increments = Array.from({ length: 20 }, () => ['INCR', 'counter']);
  const answers: Promise<unknown>[] = [];
  for (let n = 0; n < 20; n += 1) {
    answers.push(post('/multi-exec', increments).then((answer) => answer.json()));
    void post('/pipeline', increments);
  }
  for (const answer of (await Promise.all(answers)) as { result: number }[][]) {
    const values = answer.map(({ result }) => result);
    expect(values).toEqual(values.map((_, at) => (values[0] as number) + at));
  }
});

describe('while Redis is unavailable', () => {
  test('commands fail, and work again after it is back, with every acknowledged write', async () => {
    const redis = client();
    await redis.set('durable', text);
    stack().engines.redis.kill('SIGKILL');
    await until('commands fail', async () => (await request('/ping')).status === 503);
    const refused = await post('/', ['INCR', 'never']);
    expect([refused.status, await refused.json()]).toEqual([
      503,
      { error: expect.stringContaining('redis is unavailable') },
    ]);
    await stack().engines.redis.restart();
    await until('the front has reconnected', async () => (await request('/ping')).ok);
    expect(await redis.get('durable')).toBe(text);
    expect(await redis.get('never')).toBeNull();
  });

  test('a command whose answer was lost is not sent a second time', async () => {
    const { redis } = stack().engines;
    await post('/', ['SET', 'once', '0']);
    redis.kill('SIGSTOP');
    const lost = post('/', ['INCR', 'once']);
    // Refusals come from the front alone: when these have come, it has long passed the command on.
    for (let n = 0; n < 10; n += 1) expect((await post('/', [])).status).toBe(400);
    redis.kill('SIGKILL');
    expect((await lost).status).toBe(503);
    await redis.restart();
    await until('the front has reconnected', async () => (await request('/ping')).ok);
    expect(await (await request('/get/once')).json()).toEqual({ result: '0' });
  });
});
