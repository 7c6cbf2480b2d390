import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { inOrder, script } from '../../src/stores/redis/script.ts';

const root = join(import.meta.dirname, '..', '..', 'src');
const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.lua'));
const includes = files.filter((name) => name.startsWith('stores/redis/lua/'));
const scripts = files.filter((name) => !includes.includes(name));
const text = (name: string) => readFileSync(join(root, name), 'utf8');
const code = (name: string) => text(name).replace(/^\s*--.*\n/gm, '');

/** Commands that Redis refuses at its memory limit. */
const grows = /'(?:SET|HSET|HSETNX|HINCRBY|XADD|ZADD|INCR|LPUSH|RPUSH|SADD|APPEND)'/;

test('every script that writes runs at the memory limit, but for the one that brings new rows', () => {
  expect(scripts.length).toBeGreaterThan(15);
  const refused = scripts.filter((name) => grows.test(text(name)) && !text(name).startsWith('#!lua flags=allow-oom\n'));
  expect(refused).toEqual(['buffer/lua/stage.lua']);
});

test.each(scripts)('%s binds its keys and arguments to names, and its header describes each name', (name) => {
  const { keys, args, header } = script(text(name));
  const bound = [...keys, ...args, ...header];
  expect(bound.filter((each) => !/^\w+$/.test(each))).toEqual([]);
  expect(new Set(bound).size).toBe(bound.length);
  expect(keys).not.toEqual([]);
  // In one statement each: a list has no second mention.
  expect(code(name).match(/\bKEYS\b/g)).toHaveLength(1);
  expect(code(name).match(/\bARGV\b/g) ?? []).toHaveLength(args.length === 0 ? 0 : 1);
  const isDescribed = (each: string) =>
    new RegExp(`^-- (?:KEYS|ARGV|    )  (?:\\w+, )*${each}\\b`, 'm').test(text(name));
  expect(bound.filter((each) => !isDescribed(each))).toEqual([]);
});

test.each(scripts)('%s names as many members as it takes from a list before the rest', (name) => {
  for (const [, names = '', list = '', count] of code(name).matchAll(
    /^local ([\w,\s]+?)\s+= unpackWithRest\((\w+)[^\n]*, (\d+)\)$/gm,
  )) {
    expect([list, names.split(',').length - 1]).toEqual([list, Number(count)]);
  }
});

test.each(scripts)('%s uses only fields of a hash that it has read', (name) => {
  for (const [, hash = '', fields = ''] of code(name).matchAll(/local (\w+) = readHash\(\w[^,]*,([^)]*)\)/g)) {
    const used = [...code(name).matchAll(new RegExp(`(?<![\\w.])${hash}\\.(\\w+)`, 'g'))].map(([, field]) => field);
    expect(used.filter((field) => !fields.includes(`'${field}'`))).toEqual([]);
  }
});

test.each(scripts)('%s includes each text once, and no text that it does not use', (name) => {
  const included = [...text(name).matchAll(/^--- @include "(\w+)"$/gm)].map(([, each = '']) => each);
  expect(new Set(included).size).toBe(included.length);
  const unused = included.filter((each) => {
    const functions = [...text(`stores/redis/lua/${each}.lua`).matchAll(/^local function (\w+)/gm)];
    const isUsed = ([, called = '']: RegExpMatchArray) => new RegExp(`\\b${called}\\(`).test(code(name));
    return !functions.some(isUsed);
  });
  expect(unused).toEqual([]);
  const { source } = script(text(name));
  expect(source).not.toContain('@include');
  const defined = [...source.matchAll(/^local function (\w+)/gm)].map(([, each]) => each);
  expect(new Set(defined).size).toBe(defined.length);
  const called = includes.flatMap((each) => [...text(each).matchAll(/^local function (\w+)/gm)]);
  expect(called.filter(([, each = '']) => code(name).includes(`${each}(`) && !defined.includes(each))).toEqual([]);
});

test('an include that does not exist is an error', () => {
  expect(() => script('--- @include "none"\nreturn 1\n')).toThrow('includes "none"');
});

test('values take the order of the names, and a list its place behind them', () => {
  const { keys, args } = script(`local state, log = unpack(KEYS)\nlocal lane,\n  ids = unpackWithRest(ARGV, 1)\n`);
  expect(inOrder(keys, { log: 'b', state: 'a' })).toEqual(['a', 'b']);
  expect(inOrder<string | number>(args, { ids: ['x', 'y'], lane: 3 })).toEqual([3, 'x', 'y']);
  expect(inOrder(script('local states = KEYS\n').keys, { states: ['a', 'b'] })).toEqual(['a', 'b']);
});

test('a missing or unknown name is an error, but for a last name without a value', () => {
  const { keys } = script('local state, log = unpack(KEYS)\n');
  expect(() => inOrder(keys, { state: 'a' })).toThrow('(state, log) and is given (state)');
  expect(() => inOrder(keys, { state: 'a', log: 'b', due: 'c' })).toThrow('(state, log, due)');
  expect(() => inOrder(keys, { state: undefined, log: 'b' })).toThrow('(state, log)');
  expect(inOrder(keys, { state: 'a', log: undefined })).toEqual(['a']);
  expect(() => inOrder([], { state: 'a' })).toThrow('takes ()');
});
