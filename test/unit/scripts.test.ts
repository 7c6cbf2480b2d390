import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '..', '..', 'src');
const scripts = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.lua'));
const source = (name: string) => readFileSync(join(root, name), 'utf8');

/** Commands that Redis refuses at its memory limit. */
const grows = /'(?:SET|HSET|HSETNX|HINCRBY|XADD|ZADD|INCR|LPUSH|RPUSH|SADD|APPEND)'/;

test('every script that writes runs at the memory limit, but for the one that brings new rows', () => {
  expect(scripts.length).toBeGreaterThan(15);
  const refused = scripts.filter(
    (name) => grows.test(source(name)) && !source(name).startsWith('#!lua flags=allow-oom\n'),
  );
  expect(refused).toEqual(['buffer/lua/stage.lua']);
});
