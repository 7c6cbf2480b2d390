import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, expect, test } from 'vitest';
import { freePorts, startStack } from '../../local/stack.ts';
import { isAlive, isGroupAlive, until, useTempDir } from './support.ts';

const tempDir = useTempDir();
const programs: ChildProcess[] = [];
/** The users of ClickHouse are in a file that is imported as text. */
const loader = ['--import', join(import.meta.dirname, '../../local/text-modules.ts')];
afterAll(() => {
  for (const program of programs) program.kill('SIGKILL');
});

/** Starts the program in a process group of its own, as a shell does. */
async function startProgram(dataDir: string) {
  const script = join(import.meta.dirname, 'stack-program.ts');
  const program = spawn(process.execPath, [...loader, script, dataDir], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  programs.push(program);
  const lines: Record<string, unknown>[] = [];
  createInterface(program.stdout).on('line', (line) => lines.push(JSON.parse(line)));
  await until('the program has its stack', () => lines.length > 0);
  const lock = JSON.parse(readFileSync(join(dataDir, 'stack.lock'), 'utf8')) as { engines: { pid: number }[] };
  return { program, lines, pids: lines[0]?.pids as number[], groups: lock.engines.map(({ pid }) => pid) };
}

test('no engine outlives a parent that is killed with SIGKILL, and the data can be used again at once', async () => {
  const dataDir = join(tempDir(), 'killed');
  const { program, pids, groups } = await startProgram(dataDir);
  expect(pids.filter(isAlive)).toHaveLength(5);
  expect(groups.filter(isGroupAlive)).toHaveLength(5);
  program.kill('SIGKILL');
  await once(program, 'exit');
  const stack = await startStack({ dataDir, ports: await freePorts() });
  expect(pids.filter(isAlive)).toEqual([]);
  expect(groups.filter(isGroupAlive)).toEqual([]);
  await stack.stop();
});

test('a parent that is killed while its engines start leaves none of them behind', async () => {
  const dataDir = join(tempDir(), 'early');
  const script = join(import.meta.dirname, 'stack-program.ts');
  const program = spawn(process.execPath, [...loader, script, dataDir], { stdio: 'ignore' });
  programs.push(program);
  const engines = () => {
    try {
      const lock = JSON.parse(readFileSync(join(dataDir, 'stack.lock'), 'utf8')) as { engines: { pid: number }[] };
      return lock.engines.map(({ pid }) => pid);
    } catch {
      return [];
    }
  };
  await until('some engines have begun', () => engines().length >= 3);
  program.kill('SIGKILL');
  await once(program, 'exit');
  await until('they are gone', () => !engines().some(isGroupAlive));
});

test('Ctrl-C reaches the parent alone, which stops the engines in order', async () => {
  const { program, lines, groups } = await startProgram(join(tempDir(), 'interrupted'));
  process.kill(-(program.pid as number), 'SIGINT');
  const [code] = await once(program, 'exit');
  expect(code).toBe(0);
  expect(lines.slice(1)).toEqual([{ stopped: true }]);
  expect(groups.filter(isGroupAlive)).toEqual([]);
});
