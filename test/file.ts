/**
 * `npm run test:file -- <test files>`: runs test files on the engines that `npm run engines` keeps up, or else on engines
 * of its own.
 *
 * @module
 */
import { runVitest } from './run-vitest.ts';

const args = process.argv.slice(2);
if (args.length === 0) {
  console.error('Usage: npm run test:file -- <test files> [options of vitest]');
  process.exit(2);
}
process.exitCode = await runVitest(args, { TEST_ENGINES: 'kept' });
