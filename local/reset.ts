/**
 * `npm run reset`: removes the state of the local stack.
 *
 * @module
 */
import { existsSync, rmSync } from 'node:fs';
import { isDataDir } from './data-dir.ts';
import { lockDataDir } from './engines/lock.ts';
import { describeFailure, StartFailure } from './failure.ts';
import { readDataDir } from './options.ts';

try {
  console.log(await reset(readDataDir(process.env)));
} catch (error) {
  console.error(describeFailure(error));
  process.exitCode = 1;
}

async function reset(dataDir: string): Promise<string> {
  if (!existsSync(dataDir)) return `Nothing to remove: there is no ${dataDir}.`;
  if (!isDataDir(dataDir)) {
    throw new StartFailure(`${dataDir} was not made by npm start, so it is left alone. Check LOCAL_DATA_DIR.`);
  }
  // Refuses while a stack runs in it, and keeps one from starting meanwhile.
  await lockDataDir(dataDir);
  rmSync(dataDir, { recursive: true });
  return `Removed ${dataDir}.`;
}
