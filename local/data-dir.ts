import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StartFailure } from './failure.ts';

const marker = '.timestore';

/** Whether the folder was made by the start command, and so may be removed by reset. */
export const isDataDir = (dataDir: string): boolean => existsSync(join(dataDir, marker));

/** Makes the folder and marks it as ours; a folder with somebody else's files is left alone. */
export function prepareDataDir(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true });
    if (isDataDir(dataDir)) return;
    if (readdirSync(dataDir).length > 0) {
      throw new StartFailure(
        `LOCAL_DATA_DIR is ${dataDir}, which holds files that are not Timestore's. Choose an empty or a new folder.`,
      );
    }
    writeFileSync(join(dataDir, marker), 'The state of a local Timestore. `npm run reset` removes it.\n');
  } catch (error) {
    if (error instanceof StartFailure) throw error;
    throw new StartFailure(
      `Cannot use ${dataDir} for the state: ${(error as Error).message}. Choose another LOCAL_DATA_DIR.`,
    );
  }
}
