import { readFileSync } from 'node:fs';

/**
 * The module that a `.sql`, `.lua` or `.md` file is: its text, as in the Worker's bundle. One rule for the program's own loader
 * and for the tests.
 *
 * @returns undefined for every other file
 */
export function textModule(path: string): string | undefined {
  if (!/\.(?:sql|lua|md)$/.test(path)) return undefined;
  return `export default ${JSON.stringify(readFileSync(path, 'utf8'))};`;
}
