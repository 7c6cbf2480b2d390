// Every npm script starts here, on whatever Node.js the machine has (18 or newer): it makes the
// packages of the lock file present and then runs the project's own Node.js.
// Plain JavaScript without dependencies, because nothing else can run before the packages are there.
//
//   node local/bootstrap.mjs <file.ts | name of a command in node_modules/.bin> [arguments]

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureInstalled } from './bootstrap-install.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = join(root, 'node_modules', '.bin');

/** Program and arguments: a .ts file runs on the project's Node.js, anything else is a command of a package. */
function commandFor(target, args) {
  if (!target.endsWith('.ts')) return [join(bin, target), args];
  const loader = join(root, 'local', 'text-modules.ts');
  const imports = existsSync(loader) ? ['--import', loader] : [];
  return [join(bin, 'node'), [...imports, resolve(root, target), ...args]];
}

function childEnv(startedAt, installMs) {
  const env = { ...process.env };
  // Written for the caller's Node.js, which another version may refuse to start with.
  delete env.NODE_OPTIONS;
  env.PATH = bin + delimiter + (env.PATH ?? '');
  env.LOCAL_STARTED_AT = String(startedAt);
  env.LOCAL_INSTALL_MS = String(installMs);
  return env;
}

/**
 * The child shares this process group, so Ctrl-C in a terminal reaches both, and npm passes on to us what it
 * gets: our own programs (which listen on the channel) count a burst as one; for others a terminal's SIGINT
 * is not sent a second time.
 */
function forwardSignals(child, isOurs) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (signal === 'SIGINT' && process.stdin.isTTY && !isOurs) return;
      child.kill(signal);
    });
  }
}

/** npm killed outright passes nothing on: its disappearance is taken as the wish to end. */
function endWithNpm(child) {
  if (process.env.npm_lifecycle_event === undefined) return;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    child.kill('SIGTERM');
  }, 500);
  timer.unref();
}

const startedAt = Date.now();
const [target, ...args] = process.argv.slice(2);
if (target === undefined) {
  console.error('Usage: node local/bootstrap.mjs <file.ts | command> [arguments]');
  process.exit(2);
}
try {
  await ensureInstalled(root);
} catch (error) {
  console.error(`\n${error.message}`);
  process.exit(1);
}
const isOurs = target.endsWith('.ts');
const [program, programArgs] = commandFor(target, args);
const child = spawn(program, programArgs, {
  env: childEnv(startedAt, Date.now() - startedAt),
  // The channel carries nothing: it closes when this process is killed, and so tells our programs to stop.
  stdio: isOurs ? ['inherit', 'inherit', 'inherit', 'ipc'] : 'inherit',
});
forwardSignals(child, isOurs);
endWithNpm(child);
child.on('error', (error) => {
  console.error(`Cannot run ${target}: ${error.message}`);
  process.exit(1);
});
child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
