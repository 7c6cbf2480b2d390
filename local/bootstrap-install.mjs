// Installs the packages of the lock file when they are missing or belong to another lock file.
// Plain JavaScript for the same reason as bootstrap.mjs.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { withInstallLock } from './bootstrap-lock.mjs';

const STAMP = '.timestore-lock';
const NODE_OLDEST = 18;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];
const ERROR_LINES = 12;
const NETWORK =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT)\b/;

/** Makes node_modules match package-lock.json. Throws an Error whose message says what to do. */
export async function ensureInstalled(root) {
  if (Number(process.versions.node.split('.')[0]) < NODE_OLDEST)
    throw new Error(
      `Node.js ${process.version} is too old: ${NODE_OLDEST} or newer is needed to install. See https://nodejs.org/.`,
    );
  const lockFile = readLockFile(root);
  if (isInstalled(root, lockFile)) return;
  await withInstallLock(join(root, '.install-lock'), async () => {
    if (isInstalled(root, lockFile)) return; // another process has installed them in the meantime
    if (!matchesHiddenLock(root, lockFile)) await npmCi(root);
    if (!existsSync(nodeBinary(root)))
      throw new Error(
        'npm did not install the Node.js of the package "node": its install script did not run.\n' +
          'Check `npm config get ignore-scripts` and "allowScripts" in package.json, remove node_modules and try again.',
      );
    writeFileSync(join(root, 'node_modules', STAMP), makeStamp(lockFile));
  });
}

function readLockFile(root) {
  try {
    return readFileSync(join(root, 'package-lock.json'));
  } catch (error) {
    throw new Error(`Cannot read package-lock.json (${error.code}): run this in a complete copy of the repository.`);
  }
}

const nodeBinary = (root) => join(root, 'node_modules', 'node', 'bin', 'node');

/** The stamp includes the platform: node_modules may be shared with a container that needs other binaries. */
const makeStamp = (lockFile) =>
  `${createHash('sha256').update(lockFile).digest('hex')} ${process.platform}-${process.arch}\n`;

function isInstalled(root, lockFile) {
  try {
    return (
      readFileSync(join(root, 'node_modules', STAMP), 'utf8') === makeStamp(lockFile) && existsSync(nodeBinary(root))
    );
  } catch {
    return false;
  }
}

/** Whether node_modules already has exactly these packages from an `npm ci` or `npm install` by hand. */
function matchesHiddenLock(root, lockFile) {
  try {
    const wanted = JSON.parse(lockFile.toString()).packages;
    const present = JSON.parse(readFileSync(join(root, 'node_modules', '.package-lock.json'), 'utf8')).packages;
    const isSame = (name) =>
      wanted[name]?.version === present[name]?.version && wanted[name]?.integrity === present[name]?.integrity;
    // Builds for other platforms, and packages that only those builds need.
    const isAbsentOnPurpose = (name) =>
      present[name] === undefined && wanted[name].optional === true && !isBuiltForHere(wanted[name]);
    return (
      Object.keys(present).every(isSame) &&
      Object.keys(wanted).every((name) => name === '' || isSame(name) || isAbsentOnPurpose(name)) &&
      existsSync(nodeBinary(root))
    );
  } catch {
    return false;
  }
}

const isBuiltForHere = ({ os, cpu, libc }) =>
  os !== undefined && libc === undefined && os.includes(process.platform) && (cpu?.includes(process.arch) ?? true);

async function npmCi(root) {
  // Standard output belongs to the program that is run.
  console.error('Installing the packages of package-lock.json with npm ci (1.3 GB on disk, once) …');
  const startedAt = Date.now();
  const seconds = () => ((Date.now() - startedAt) / 1000).toFixed(0);
  const ticker = process.stderr.isTTY ? setInterval(() => process.stderr.write(`\r  ${seconds()} s`), 1000) : undefined;
  const { code, output } = await runNpm(root, [
    'ci',
    '--include=dev', // the start command needs them, and NODE_ENV=production would omit them
    '--include=optional',
    '--ignore-scripts=false', // the package "node" fetches its binary in an install script
    '--no-audit',
    '--no-fund',
  ]);
  clearInterval(ticker);
  if (ticker !== undefined) process.stderr.write('\r');
  if (code !== 0) throw new Error(describeNpmFailure(code, output));
  console.error(`Installed in ${seconds()} s.`);
}

function runNpm(root, args) {
  // The npm that runs this script, if one does: the machine may have several.
  const current = process.env.npm_execpath;
  const isNpm = current !== undefined && basename(current).startsWith('npm-cli');
  const [program, first] = isNpm ? [process.execPath, [current]] : ['npm', []];
  return new Promise((resolve) => {
    const npm = spawn(program, [...first, ...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const append = (chunk) => {
      output = (output + chunk).slice(-20_000);
    };
    npm.stdout.on('data', append);
    npm.stderr.on('data', append);
    const interrupt = (signal) => {
      npm.kill(signal);
      npm.once('close', () => process.exit(1));
    };
    for (const signal of SIGNALS) process.once(signal, interrupt);
    const finish = (code) => {
      for (const signal of SIGNALS) process.off(signal, interrupt);
      resolve({ code, output });
    };
    npm.on('error', (error) => finish(error.code));
    npm.on('close', (code, signal) => finish(code ?? signal));
  });
}

function describeNpmFailure(code, output) {
  if (code === 'ENOENT')
    return 'npm is not on the PATH: install it (it comes with Node.js, https://nodejs.org/) and try again.';
  // npm prints the cause first and its usage after it.
  const lines = output
    .split('\n')
    .filter((line) => /^npm error ./.test(line) && !/^npm error +at /.test(line))
    .slice(0, ERROR_LINES);
  const advice = NETWORK.test(output)
    ? 'The package registry cannot be reached: check the network, a proxy (`npm config get proxy`) and `npm config get registry`, then try again.'
    : 'Fix the problem that npm reports, then try again.';
  return [`npm ci failed (${code}):`, ...lines.map((line) => `  ${line}`), advice].join('\n');
}
