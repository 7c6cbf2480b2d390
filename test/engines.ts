/**
 * `npm run engines`: keeps the engines of the tests up until Ctrl-C. `npm run test:file` uses them and starts at once.
 *
 * @module
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listenForInterrupts } from '../local/interrupt.ts';
import { migrate } from '../src/cli/migrate.ts';
import { keptEngines, recordKeptEngines } from './kept-engines.ts';
import { startTestStack } from './test-stack.ts';

const running = keptEngines();
if (running !== undefined) {
  console.error(`The engines are up already, kept by process ${running.pid}.`);
  process.exit(1);
}
const interrupt = listenForInterrupts();
const dataDir = mkdtempSync(join(tmpdir(), 'timestore-engines-'));
console.log(`Starting ClickHouse, Redis, Postgres and S3 in ${dataDir} …`);
try {
  const { stack, env } = await startTestStack(dataDir);
  let forget = () => {};
  try {
    await migrate(env);
    forget = recordKeptEngines(env);
    for (const [engine, url] of Object.entries(stack.urls)) console.log(`  ${engine.padEnd(10)} ${url}`);
    console.log('The engines are up. In another terminal: npm run test:file -- <test file>. Ctrl-C stops them.');
    await Promise.race([stack.failed, interrupt.interrupted]);
  } finally {
    forget();
    await stack.stop();
  }
} catch (error) {
  if (!interrupt.signal.aborted) {
    process.exitCode = 1;
    console.error((error as Error).message);
  }
} finally {
  rmSync(dataDir, { recursive: true, force: true });
}
// The channel to the program that started this one would keep it running.
process.exit();
