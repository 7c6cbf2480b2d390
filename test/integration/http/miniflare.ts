import { join } from 'node:path';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { builtModules } from '../../../local/built-modules.ts';

const root = join(import.meta.dirname, '..', '..', '..');

export type WorkerOptions = {
  /** The folder of the built Worker. */
  build: string;
  /** The module in it that is the Worker. */
  main?: string;
  /** With the files of the browsable page, for which the runtime puts a router before the Worker. */
  assets?: boolean;
  bindings: Record<string, string | undefined>;
  /** 0 for any that is free. */
  port?: number;
  queue?: boolean;
  /** Requests of each key in a minute. */
  rateLimit?: number | undefined;
};

/** The built Worker in the real runtime. */
export function startMiniflare(worker: WorkerOptions): Miniflare {
  const { build, main = 'worker.js', assets = true, bindings, port = 0, queue = false, rateLimit } = worker;
  const options = convertV4MiniflareOptions({
    name: 'timestore',
    host: '127.0.0.1',
    port,
    cf: false,
    modules: builtModules(build, main),
    modulesRoot: build,
    compatibilityDate: '2026-11-01',
    compatibilityFlags: ['nodejs_compat', 'enable_request_signal'],
    bindings: Object.fromEntries(Object.entries(bindings).filter(([, value]) => value !== undefined)) as Record<
      string,
      string
    >,
    ...(assets && {
      assets: {
        directory: join(root, 'node_modules', 'swagger-ui-dist'),
        binding: 'ASSETS',
        routerConfig: { has_user_worker: true, invoke_user_worker_ahead_of_assets: true },
      },
    }),
    ...(queue && {
      queueProducers: { FLUSH_QUEUE: 'timestore-flush', MONITOR_QUEUE: 'timestore-monitor' },
      queueConsumers: {
        'timestore-flush': { maxBatchSize: 3, maxBatchTimeout: 0.1 },
        'timestore-monitor': { maxBatchSize: 1, maxBatchTimeout: 0.1 },
      },
    }),
    ...(rateLimit !== undefined && {
      ratelimits: { RATE_LIMITER: { namespace_id: '1', simple: { limit: rateLimit, period: 60 } } },
    }),
    // Its events are not the tests' output.
    handleStructuredLogs: () => undefined,
  });
  return new Miniflare(options);
}
