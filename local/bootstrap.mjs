// Entry point of every npm script, on any Node.js from version 18: installs the packages of the
// lock file if necessary, then runs the target on the project's own Node.js.
// Plain JavaScript without dependencies, because it runs before the packages are installed.
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
  // These options are for the caller's Node.js; another version may reject them.
  delete env.NODE_OPTIONS;
  env.PATH = bin + delimiter + (env.PATH ?? '');
  env.LOCAL_STARTED_AT = String(startedAt);
  env.LOCAL_INSTALL_MS = String(installMs);
  return env;
}

/**
 * The child shares this process group, so Ctrl-C in a terminal reaches both, and npm forwards its signals to this
 * process. Programs of this project count several signals within a moment as one. For other programs a terminal's SIGINT
 * is not forwarded, so that they do not receive it twice.
 */
function forwardSignals(child, isOurs) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (signal === 'SIGINT' && process.stdin.isTTY && !isOurs) return;
      child.kill(signal);
    });
  }
}

/** A killed npm forwards no signal, so its end is taken as a request to stop. */
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
  // The channel carries no messages. It closes when this process is killed; programs of this project then stop.
  stdio: isOurs ? ['inherit', 'inherit', 'inherit', 'ipc'] : 'inherit',
});
forwardSignals(child, isOurs);
endWithNpm(child);
child.on('error', (error) => {
  console.error(`Cannot run ${target}: ${error.message}`);
  process.exit(1);
});
child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
