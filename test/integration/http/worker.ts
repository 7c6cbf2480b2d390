import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { afterAll, beforeAll, inject } from 'vitest';

const root = join(import.meta.dirname, '..', '..', '..');

export type Client = (path: string, init?: RequestInit & { json?: unknown; key?: string | null }) => Promise<Response>;

/** The built Worker in the real runtime, over HTTP. `overrides` are environment values. */
export function useWorker(
  overrides: Record<string, string | undefined> = {},
  { queue = false } = {},
): Client & { fireCron(): Promise<void> } {
  let miniflare: Miniflare | undefined;
  let url: URL | undefined;

  beforeAll(async () => {
    // Keys of its own: its cron and its flush of everything must not take other tests' batches.
    const bindings = {
      ...inject('env'),
      TIMESTORE_KEY_PREFIX: `http-${process.pid}${queue ? '-queue' : ''}`,
      ...overrides,
    };
    const options = convertV4MiniflareOptions({
      name: 'timestore',
      host: '127.0.0.1',
      port: 0,
      cf: false,
      modules: builtModules(inject('build')),
      modulesRoot: inject('build'),
      compatibilityDate: '2026-11-01',
      compatibilityFlags: ['nodejs_compat'],
      bindings: Object.fromEntries(Object.entries(bindings).filter(([, value]) => value !== undefined)) as Record<
        string,
        string
      >,
      assets: {
        directory: join(root, 'node_modules', 'swagger-ui-dist'),
        binding: 'ASSETS',
        routerConfig: { has_user_worker: true, invoke_user_worker_ahead_of_assets: true },
      },
      ...(queue && {
        queueProducers: { FLUSH_QUEUE: 'timestore-flush' },
        queueConsumers: { 'timestore-flush': { maxBatchSize: 3, maxBatchTimeout: 0.1 } },
      }),
      // Its events are not the tests' output.
      handleStructuredLogs: () => undefined,
    });
    miniflare = new Miniflare(options);
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
    /** As Cloudflare's clock does. Resolves when the handler has. */
    async fireCron() {
      const worker = await miniflare?.getWorker();
      const result = await worker?.scheduled({ cron: '* * * * *', scheduledTime: new Date('2026-05-01T10:07:00Z') });
      if (result?.outcome !== 'ok') throw new Error(`the cron handler ended with ${result?.outcome}`);
    },
  });
}

/** The bundle, first, and the texts that it imports. */
function builtModules(dir: string) {
  const texts = readdirSync(dir).filter((name) => /\.(?:lua|sql)$/.test(name));
  return [
    { type: 'ESModule' as const, path: join(dir, 'worker.js') },
    ...texts.map((name) => ({ type: 'Text' as const, path: join(dir, name) })),
  ];
}
