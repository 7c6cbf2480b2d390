import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { builtWorker } from '../../built-worker.ts';

test('the Worker is at most 1 MiB, gzipped as it is uploaded', async () => {
  const build = await builtWorker();
  const files = readdirSync(build).filter((name) => /\.(?:js|lua|sql|md)$/.test(name));
  const bytes = files.reduce((sum, name) => sum + gzipSync(readFileSync(join(build, name))).length, 0);
  expect(files).toContain('worker.js');
  expect(bytes).toBeLessThanOrEqual(1024 * 1024);
});
