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
  if (!existsSync(dataDir)) return `Nothing to remove: ${dataDir} does not exist.`;
  if (!isDataDir(dataDir)) {
    throw new StartFailure(`npm start did not create ${dataDir}, so it was not removed. Check LOCAL_DATA_DIR.`);
  }
  // Fails while a stack uses the folder, and prevents another one from starting before the removal.
  await lockDataDir(dataDir);
  rmSync(dataDir, { recursive: true });
  return `Removed ${dataDir}.`;
}
