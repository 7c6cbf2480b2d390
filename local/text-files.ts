import { readFileSync } from 'node:fs';

/**
 * A `.sql`, `.lua` or `.md` file as a module that exports its text, as in the Worker's bundle. The program's loader and the
 * tests share this rule.
 *
 * @returns undefined for every other file
 */
export function textModule(path: string): string | undefined {
  if (!/\.(?:sql|lua|md)$/.test(path)) return undefined;
  return `export default ${JSON.stringify(readFileSync(path, 'utf8'))};`;
}
