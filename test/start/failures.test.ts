import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectNothingLeft, newPlace, run } from './command.ts';

async function failing(env: Record<string, string>, args: string[] = []) {
  const command = run('start', env, args);
  return { code: await command.ended, output: command.output() };
}

async function listenOn(port: number): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return server;
}

test.each([
  ['PORT', 17],
  ['LOCAL_PORT_BASE', 0],
  ['LOCAL_PORT_BASE', 7],
])('a port of %s that is taken is named, with what to set', async (variable, offset) => {
  const place = await newPlace();
  const server = await listenOn(place.base + offset);
  const { code, output } = await failing(place.env, ['--once']);
  await new Promise((resolve) => server.close(resolve));
  expect(code).toBe(1);
  expect(output).toContain(String(place.base + offset));
  expect(output).toContain(variable);
  expect(output).not.toContain('    at ');
  await expectNothingLeft(place);
});

test('values that are malformed are named all at once', async () => {
  const { code, output } = await failing({
    PORT: 'http',
    LOCAL_PORT_BASE: '70000',
    LOCAL_COLLECT_SECONDS: '0',
    LOCAL_REDIS_URL: 'http://x',
  });
  expect(code).toBe(1);
  for (const name of ['PORT', 'LOCAL_PORT_BASE', 'LOCAL_COLLECT_SECONDS', 'LOCAL_REDIS_URL']) {
    expect(output).toMatch(new RegExp(`^${name} must be`, 'm'));
  }
});

test.each([
  ['PORT', { PORT: '6000' }, '6000'],
  ['LOCAL_PORT_BASE', { LOCAL_PORT_BASE: '4040' }, '4045'],
])('a port that fetch refuses is named before anything is started: %s', async (name, env, port) => {
  const { code, output } = await failing(env);
  expect({ code, output }).toEqual({ code: 1, output: expect.stringMatching(new RegExp(`^${name}: .*port ${port}`)) });
});

test('an unknown option is named, and help is offered', async () => {
  expect(await failing({}, ['--ones'])).toEqual({ code: 2, output: expect.stringContaining('--help') });
  expect(await failing({}, ['--help'])).toEqual({ code: 0, output: expect.stringContaining('LOCAL_DATA_DIR') });
});

test('a folder with files of other programs is left alone, by start and by reset', async () => {
  const place = await newPlace();
  mkdirSync(place.dataDir);
  writeFileSync(join(place.dataDir, 'thesis.txt'), 'precious');
  for (const script of ['start', 'reset']) {
    const command = run(script, place.env);
    expect(await command.ended).toBe(1);
    expect(command.output()).toContain(place.dataDir);
  }
  expect(readdirSync(place.dataDir)).toEqual(['thesis.txt']);
});

test('without a Redis server and without the right to install one, it says what to install', async () => {
  const place = await newPlace();
  // Only what the command itself needs: neither redis-server nor apt-get.
  const bin = mkdtempSync(join(tmpdir(), 'timestore-bin-'));
  symlinkSync(process.execPath, join(bin, 'node'));
  const { code, output } = await failing({ ...place.env, PATH: bin }, ['--once']);
  rmSync(bin, { recursive: true });
  expect(code).toBe(1);
  expect(output).toContain('redis-server');
  expect(output).toContain('LOCAL_REDIS_URL');
  await expectNothingLeft(place);
});
