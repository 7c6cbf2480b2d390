// One install at a time: `npm test` beside `npm start` must not empty node_modules under the other's npm ci.

import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

const POLL_MS = 200;

/** Runs `work` while this process alone holds the lock file at `path`; waits for another holder to end. */
export async function withInstallLock(path, work) {
  let isWaiting = false;
  while (!tryLock(path)) {
    const holder = readHolder(path);
    if (holder === undefined) continue;
    if (!isAlive(holder)) {
      rmSync(path, { force: true }); // killed in the middle of an install
      continue;
    }
    if (!isWaiting) console.log(`Waiting for process ${holder}, which installs the packages …`);
    isWaiting = true;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  const release = () => rmSync(path, { force: true });
  process.once('exit', release);
  try {
    return await work();
  } finally {
    process.off('exit', release);
    release();
  }
}

function tryLock(path) {
  const own = `${path}.${process.pid}`;
  try {
    // Linked when it is complete: a lock that exists always names its holder.
    writeFileSync(own, String(process.pid));
    linkSync(own, path);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw new Error(
      `Cannot write ${path} (${error.code}): the folder of the project must be writable to install packages.`,
    );
  } finally {
    rmSync(own, { force: true });
  }
}

/** Undefined when the lock was released since. */
function readHolder(path) {
  try {
    return Number(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
