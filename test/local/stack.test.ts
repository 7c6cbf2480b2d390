import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Redis } from '@upstash/redis';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { findRedisServer } from '../../local/engines/redis/find.ts';
import { descendants } from '../../local/process-tree.ts';
import {
  EngineFailure,
  engineNames,
  freePorts,
  type Progress,
  portsFrom,
  type Stack,
  type StackOptions,
  startStack,
} from '../../local/stack.ts';
import { isAlive, parentOf, until, useTempDir } from './support.ts';

const tempDir = useTempDir();
const started: Stack[] = [];
afterEach(async () => {
  await Promise.all(started.splice(0).map((stack) => stack.stop()));
});

async function start(name: string, options: Partial<StackOptions> = {}): Promise<Stack> {
  const stack = await startStack({ dataDir: join(tempDir(), name), ports: await freePorts(), ...options });
  started.push(stack);
  return stack;
}

function redisOf({ env }: Stack): Redis {
  return new Redis({ url: env.UPSTASH_REDIS_REST_URL, token: env.UPSTASH_REDIS_REST_TOKEN, retry: false });
}

async function failureOf(start: Promise<unknown>): Promise<EngineFailure> {
  const outcome = await start.catch((error: unknown) => error);
  if (outcome instanceof EngineFailure) return outcome;
  throw new Error(`no EngineFailure: ${outcome}`);
}

test('ports follow one another from a base, in a fixed order', () => {
  expect(portsFrom(4000)).toEqual({
    clickhouseHttp: 4000,
    clickhouseTcp: 4001,
    redis: 4002,
    upstash: 4003,
    postgres: 4004,
    neon: 4005,
    s3: 4006,
  });
  expect(() => portsFrom(65_530)).toThrow('LOCAL_PORT_BASE');
});

test('two stacks run side by side and share nothing; stopping one leaves the other alone', async () => {
  const progress: Progress[] = [];
  const [one, two] = await Promise.all([start('one', { onProgress: (event) => progress.push(event) }), start('two')]);
  for (const engine of engineNames) {
    expect(progress.filter((event) => event.engine === engine).map(({ state }) => state)).toEqual([
      'starting',
      'ready',
    ]);
  }
  await redisOf(one).set('who', 'one');
  expect(await redisOf(two).get('who')).toBeNull();
  const pids = engineNames.map((name) => one.engines[name].pid as number);
  await Promise.all([one.stop(), one.stop()]);
  await one.stop();
  expect(pids.filter(isAlive)).toEqual([]);
  expect(await redisOf(two).ping()).toBe('PONG');
});

test('a stack started again on its directory has its data', async () => {
  const first = await start('again');
  await redisOf(first).set('kept', 'yes');
  await first.stop();
  expect(await redisOf(await start('again')).get('kept')).toBe('yes');
});

test('fronts run on engines that are elsewhere, which are not started', async () => {
  const elsewhere = await start('elsewhere');
  const { env } = elsewhere;
  const withLogin = (url = '', user = '', password = '') => url.replace('://', `://${user}:${password}@`);
  const progress: Progress[] = [];
  const stack = await start('fronts', {
    external: {
      redisUrl: elsewhere.engines.redis.url,
      postgresUrl: env.DATABASE_URL ?? '',
      clickhouseUrl: withLogin(env.CLICKHOUSE_URL, env.CLICKHOUSE_USER, env.CLICKHOUSE_PASSWORD),
      s3Endpoint: withLogin(env.S3_ENDPOINT, env.S3_ACCESS_KEY_ID, env.S3_SECRET_ACCESS_KEY),
    },
    onProgress: (event) => progress.push(event),
  });
  expect(
    progress
      .filter(({ state }) => state === 'external')
      .map(({ engine }) => engine)
      .sort(),
  ).toEqual(['clickhouse', 'redis', 's3']);
  expect(JSON.stringify(progress)).not.toContain(env.CLICKHOUSE_PASSWORD);
  await redisOf(elsewhere).set('there', 'yes');
  expect(await redisOf(stack).get('there')).toBe('yes');
  expect(stack.env).toMatchObject({
    CLICKHOUSE_URL: env.CLICKHOUSE_URL,
    CLICKHOUSE_READER_USER: env.CLICKHOUSE_USER,
    S3_REGION: 'auto',
    S3_ENDPOINT: env.S3_ENDPOINT,
    S3_SECRET_ACCESS_KEY: env.S3_SECRET_ACCESS_KEY,
    CLICKHOUSE_STORAGE_POLICY: '',
  });
  expect(() => stack.engines.redis.kill()).toThrow('is external');
});

describe('a failure is one clear error, with nothing left running', () => {
  afterEach(() => vi.unstubAllEnvs());

  test('a port that is taken is named, with how to choose others', async () => {
    const ports = await freePorts();
    const squatter = createServer();
    await new Promise<void>((listening) => squatter.listen(ports.upstash, '127.0.0.1', listening));
    const failure = await failureOf(start('port', { ports }));
    expect(failure.engine).toBe('upstash');
    for (const word of [String(ports.upstash), 'LOCAL_PORT_BASE', 'LOCAL_DATA_DIR'])
      expect(failure.message).toContain(word);
    await new Promise((closed) => squatter.close(closed));
    await start('port', { ports });
  });

  test('a directory in use by a running stack is not touched', async () => {
    const running = await start('used');
    const failure = await failureOf(start('used'));
    expect(failure.message).toMatch(`in use by another running stack (process ${process.pid})`);
    expect(failure.message).toContain('LOCAL_DATA_DIR');
    expect(await redisOf(running).ping()).toBe('PONG');
  });

  test('the lock of a process that is gone is taken over, also when its number lives on', async () => {
    const dataDir = join(tempDir(), 'stale');
    mkdirSync(dataDir);
    const lock = { nonce: 'x', holder: { pid: process.pid, startedAt: 'another time' }, engines: [] };
    writeFileSync(join(dataDir, 'stack.lock'), JSON.stringify(lock));
    const stack = await start('stale');
    await stack.stop();
    expect(readdirSync(dataDir).filter((name) => name.startsWith('stack.lock'))).toEqual([]);
  });

  test('a Redis that refuses its file is shown with the end of its log, and the others are stopped', async () => {
    const appendDir = join(tempDir(), 'refused/redis/appendonlydir');
    mkdirSync(appendDir, { recursive: true });
    writeFileSync(join(appendDir, 'appendonly.aof.manifest'), 'this is no manifest\n');
    const progress: Progress[] = [];
    const ports = await freePorts();
    const failure = await failureOf(start('refused', { ports, onProgress: (event) => progress.push(event) }));
    expect(failure.engine).toBe('redis');
    expect(failure.message).toMatch(/ended before it was ready[\s\S]*redis\.log[\s\S]*manifest/);
    expect(progress.filter(({ state }) => state === 'failed').map(({ engine }) => engine)).toContain('redis');
    for (const port of Object.values(ports)) await expect(fetch(`http://127.0.0.1:${port}`)).rejects.toThrow();
  });

  test('a machine without Redis gets a message with the package to install and the variable to set', () => {
    expect(() => findRedisServer('/nowhere')).toThrow(EngineFailure);
    expect(() => findRedisServer('/nowhere')).toThrow(/redis-server[\s\S]*apt-get install[\s\S]*LOCAL_REDIS_URL/);
  });

  test('a platform without the ClickHouse library gets a message to use a server', async () => {
    vi.stubEnv('CHDB_LIBCHDB_DIR', tempDir());
    const failure = await failureOf(start('platform'));
    expect(failure.engine).toBe('clickhouse');
    expect(failure.message).toContain('LOCAL_CLICKHOUSE_URL');
  });

  test('an external address that is none is refused by its variable', async () => {
    const failure = await failureOf(start('address', { external: { redisUrl: 'localhost:6379' } }));
    expect(failure.message).toContain('LOCAL_REDIS_URL');
  });
});

describe('while a stack runs', () => {
  test.each(engineNames)('the death of %s, which nobody asked for, is reported', async (name) => {
    const stack = await start(`death-${name}`);
    const failure = failureOf(stack.failed);
    process.kill(stack.engines[name].pid as number, 'SIGKILL');
    expect(await failure).toMatchObject({ engine: name, message: expect.stringContaining(`${name}.log`) });
  });

  test('the death of the process that watches Redis is reported, and Redis goes with it', async () => {
    const stack = await start('death-watcher');
    const failure = failureOf(stack.failed);
    const redis = stack.engines.redis.pid as number;
    process.kill(parentOf(redis), 'SIGKILL');
    expect(await failure).toMatchObject({ engine: 'redis' });
    await until('Redis is gone', () => !isAlive(redis));
  });

  test('the runtime of S3 that is killed is replaced, and has what was stored', async () => {
    const stack = await start('runtime');
    const failed = vi.fn();
    stack.failed.catch(failed);
    const { S3_BUCKET: Bucket, ...env } = stack.env;
    const s3 = new S3Client({
      endpoint: env.S3_ENDPOINT ?? '',
      region: env.S3_REGION ?? '',
      forcePathStyle: true,
      credentials: { accessKeyId: env.S3_ACCESS_KEY_ID ?? '', secretAccessKey: env.S3_SECRET_ACCESS_KEY ?? '' },
    });
    await s3.send(new PutObjectCommand({ Bucket, Key: 'kept', Body: 'yes' }));
    const [runtime] = descendants(stack.engines.s3.pid as number, 'workerd');
    process.kill(runtime as number, 'SIGKILL');
    await until('it is there again', () =>
      s3.send(new GetObjectCommand({ Bucket, Key: 'kept' }), { abortSignal: AbortSignal.timeout(5_000) }).then(
        async ({ Body }) => (await Body?.transformToString()) === 'yes',
        () => false,
      ),
    );
    expect(failed).not.toHaveBeenCalled();
  });

  test('an engine that was killed on purpose is no failure, and comes back on its port', async () => {
    const stack = await start('restart');
    const failed = vi.fn();
    stack.failed.catch(failed);
    for (const name of engineNames) {
      const { pid } = stack.engines[name];
      stack.engines[name].kill();
      await until(`${name} is dead`, () => !isAlive(pid as number));
      await stack.engines[name].restart();
      expect(stack.engines[name].pid).not.toBe(pid);
    }
    await until('the front has reconnected', () =>
      redisOf(stack)
        .ping()
        .then(() => true)
        .catch(() => false),
    );
    expect(failed).not.toHaveBeenCalled();
  });

  test('a frozen engine does not keep the stack from stopping', async () => {
    const stack = await start('frozen');
    stack.engines.redis.kill('SIGSTOP');
    stack.engines.postgres.kill('SIGSTOP');
    await stack.stop();
    await until('no engine is left', () => !engineNames.some((name) => isAlive(stack.engines[name].pid as number)));
  });
});
