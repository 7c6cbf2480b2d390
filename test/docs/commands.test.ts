import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { onPath } from '../../local/engines/apt.ts';
import { runDueJobs } from '../../src/jobs/runner.ts';
import { jobHandlers } from '../../src/operations/job-handlers.ts';
import { builtWorker } from '../built-worker.ts';
import { startMiniflare } from '../integration/http/miniflare.ts';
import { knowing, useOrigin } from '../integration/migration/origin.ts';
import { newInstance } from '../integration/support.ts';
import { blocksOf, difference, runBlocks } from './guide-commands.ts';

const root = join(import.meta.dirname, '..', '..');
const guides = readdirSync(join(root, 'functions', 'guides')).map((name) => join('functions', 'guides', name));

/** The source system of the guide to takeovers: it has no rows and takes all. */
const origin = useOrigin();
const prefix = { TIMESTORE_KEY_PREFIX: `guides-${process.pid}` };
let miniflare: ReturnType<typeof startMiniflare>;
let url = '';
let isOver = false;
let clock: Promise<void>;

beforeAll(async () => {
  miniflare = startMiniflare({
    build: await builtWorker(),
    bindings: { ...inject('env'), ...prefix, ...knowing(origin) },
  });
  url = String(await miniflare.ready).replace(/\/$/, '');
  const ctx = newInstance({ ...prefix, ...knowing(origin) });
  // As the clock does every minute.
  clock = (async () => {
    while (!isOver) {
      await runDueJobs(ctx, jobHandlers, ctx.now() + 1_000);
      await delay(200);
    }
  })();
});
afterAll(async () => {
  isOver = true;
  await clock;
  await miniflare?.dispose();
});

// Readers need them too: the guide to the start says so.
const isRunnable = ['bash', 'curl', 'jq'].every((program) => onPath([program]) !== undefined);

test.runIf(isRunnable).concurrent.for(['README.md', ...guides])(
  '%s: its commands run in order and answer as it shows',
  async (file) => {
    const ran = await runBlocks(blocksOf(readFileSync(join(root, file), 'utf8')), url);
    for (const { block, stdout } of ran) {
      if (block.expected === undefined) continue;
      expect(difference(block.expected, stdout), `${block.commands}\n${block.expected.text}`).toBe('');
    }
  },
);
