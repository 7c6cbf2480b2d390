import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StartFailure } from './failure.ts';

const marker = '.timestore';

/** Whether the start command created the folder. Only such a folder may be removed by reset. */
export const isDataDir = (dataDir: string): boolean => existsSync(join(dataDir, marker));

/** Creates the folder and marks it as a data folder. A folder with other files stays unchanged. */
export function prepareDataDir(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true });
    if (isDataDir(dataDir)) return;
    if (readdirSync(dataDir).length > 0) {
      throw new StartFailure(
        `LOCAL_DATA_DIR is ${dataDir}, which contains files of other programs. Choose an empty or a new folder.`,
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
