import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** The bundle in a folder, first, and the texts that it imports, as the runtime takes them. */
export function builtModules(dir: string, main = 'worker.js') {
  const texts = readdirSync(dir).filter((name) => /\.(?:lua|sql|md)$/.test(name));
  return [
    { type: 'ESModule' as const, path: join(dir, main) },
    ...texts.map((name) => ({ type: 'Text' as const, path: join(dir, name) })),
  ];
}
