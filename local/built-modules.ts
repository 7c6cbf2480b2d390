import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Module definitions for the runtime: first the bundle in a folder, then the text files that it imports. */
export function builtModules(dir: string, main = 'worker.js') {
  const texts = readdirSync(dir).filter((name) => /\.(?:lua|sql|md)$/.test(name));
  return [
    { type: 'ESModule' as const, path: join(dir, main) },
    ...texts.map((name) => ({ type: 'Text' as const, path: join(dir, name) })),
  ];
}
