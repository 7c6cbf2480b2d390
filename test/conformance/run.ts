/**
 * Tries at real accounts what the product relies on: `npm run conformance`, with the variables that the Worker has. It makes
 * everything under a name of its own and removes it. Exit code 1 where something is missing.
 *
 * @module
 */
import { styleText } from 'node:util';
import { ConfigError } from '../../src/core/config.ts';
import { type Result, tryAll } from './probes.ts';

function line({ store, what, said, ok, fix }: Result): string {
  const mark = ok ? styleText('green', '✔') : styleText('red', '✘');
  const more = said === '' ? '' : styleText('dim', `  ${said}`);
  const first = `${mark} ${store.padEnd(11)}${what}${ok ? more : ''}`;
  return ok ? first : `${first}\n${' '.repeat(13)}${styleText('red', said)}\n${' '.repeat(13)}→ ${fix}`;
}

try {
  const results = await tryAll(process.env, (result) => console.log(line(result)));
  const failed = results.filter(({ ok }) => !ok).length;
  console.log(failed === 0 ? `\nAll ${results.length} hold.` : `\n${failed} of ${results.length} do not hold.`);
  process.exitCode = failed === 0 ? 0 : 1;
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  console.error(
    `${error.message}\n\nSet the variables that the Worker has (functions/guides/deploy.md), and run this again.`,
  );
  process.exitCode = 1;
}
