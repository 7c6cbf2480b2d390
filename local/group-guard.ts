/**
 * Runs a program in a process group of its own. Ends the whole group when the program ends, on a message or a signal, or
 * when the parent process has ended for any reason. Usage: `node group-guard.ts <program> [arguments]`, detached, with an
 * IPC channel.
 *
 * @module
 */
import { spawn } from 'node:child_process';

const gracefulLimitMs = 3_000;
const [program, ...args] = process.argv.slice(2);
if (program === undefined) throw new Error('Usage: group-guard.ts <program> [arguments]');

const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
let isStopping = false;

/** Ends this process too: it is part of the group. */
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
  if (!isStopping) console.error(`The program ended unexpectedly with ${signal ?? `exit code ${code}`}.`);
  endGroup();
});
process.on('message', stop);
process.on('disconnect', stop);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
