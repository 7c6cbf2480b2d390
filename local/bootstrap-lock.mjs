// One installation at a time: the npm ci of `npm test` must not empty node_modules while that of `npm start` fills it.

import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

const POLL_MS = 200;

/** Runs `work` while this process holds the lock file at `path`. Waits while another process holds it. */
export async function withInstallLock(path, work) {
  let isWaiting = false;
  while (!tryLock(path)) {
    const holder = readHolder(path);
    if (holder === undefined) continue;
    if (!isAlive(holder)) {
      rmSync(path, { force: true }); // its holder was killed during an installation
      continue;
    }
    if (!isWaiting) console.log(`Waiting for process ${holder}, which is installing the packages …`);
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
    // The file is linked once it is complete, so an existing lock always names its holder.
    writeFileSync(own, String(process.pid));
    linkSync(own, path);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw new Error(`Cannot write ${path} (${error.code}): the project's folder must be writable to install packages.`);
  } finally {
    rmSync(own, { force: true });
  }
}

/** Undefined when the lock has been released in the meantime. */
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
