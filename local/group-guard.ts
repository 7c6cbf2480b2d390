/**
 * Runs a program in a process group of its own, and ends the whole group when the program ends, when asked to, or when
 * the process that started this one is gone, however it went: `node group-guard.ts <program> [arguments]`, detached,
 * with an IPC channel.
 *
 * @module
 */
import { spawn } from 'node:child_process';

const gracefulLimitMs = 3_000;
const [program, ...args] = process.argv.slice(2);
if (program === undefined) throw new Error('No program to run.');

const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
let isStopping = false;

/** The group includes this process, so this is the last thing it does. */
const endGroup = () => process.kill(-process.pid, 'SIGKILL');

function stop(): void {
  if (isStopping) return;
  isStopping = true;
  child.kill('SIGTERM');
  setTimeout(endGroup, gracefulLimitMs);
}

child.on('error', (error) => {
  console.error(`Cannot run ${program}: ${error.message}`);
  endGroup();
});
child.on('exit', (code, signal) => {
  if (!isStopping) console.error(`Ended by itself with ${signal ?? `exit code ${code}`}.`);
  endGroup();
});
process.on('message', stop);
process.on('disconnect', stop);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
