import type { Miniflare } from 'miniflare';
import { afterAll, beforeAll, inject } from 'vitest';
import { builtWorker } from '../../built-worker.ts';
import { startMiniflare } from './miniflare.ts';

export type Client = (path: string, init?: RequestInit & { json?: unknown; key?: string | null }) => Promise<Response>;

/** The built Worker in the real runtime, over HTTP. `overrides` are environment values. */
export function useWorker(
  overrides: Record<string, string | undefined> = {},
  { queue = false, rateLimit }: { queue?: boolean; rateLimit?: number } = {},
): Client & { fireCron(cron?: string, at?: Date): Promise<void>; url(): string } {
  let miniflare: Miniflare | undefined;
  let url: URL | undefined;

  beforeAll(async () => {
    // Keys of its own: its cron and its flush of everything must not take other tests' batches.
    const prefix = `http-${process.pid}${queue ? '-queue' : ''}`;
    const bindings = { ...inject('env'), TIMESTORE_KEY_PREFIX: prefix, ...overrides };
    miniflare = startMiniflare({ build: await builtWorker(), bindings, queue, rateLimit });
    url = await miniflare.ready;
  });
  afterAll(() => miniflare?.dispose());

  const client: Client = (path, { json, key = 'local-admin', ...init } = {}) =>
    fetch(new URL(path, url), {
      ...(json !== undefined && { method: 'POST', body: JSON.stringify(json) }),
      ...init,
      headers: {
        ...(key !== null && { authorization: `Bearer ${key}` }),
        ...(json !== undefined && { 'content-type': 'application/json' }),
        ...(init.headers as Record<string, string> | undefined),
      },
    });
  return Object.assign(client, {
    url: () => String(url).replace(/\/$/, ''),
    /** As Cloudflare's clock does. Resolves when the handler has. */
    async fireCron(cron = '* * * * *', at = new Date('2026-05-01T10:07:00Z')) {
      const worker = await miniflare?.getWorker();
      const result = await worker?.scheduled({
        cron,
        scheduledTime: at,
      });
      if (result?.outcome !== 'ok') throw new Error(`the cron handler ended with ${result?.outcome}`);
    },
  });
}
