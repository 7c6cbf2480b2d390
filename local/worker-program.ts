/**
 * Runs the built Worker in its runtime, as configured in `wrangler.toml`. Miniflare replaces a runtime that ends.
 *
 * The Worker cancels the query of a client that disconnects. The proxy of `wrangler dev` hides the disconnection, and the
 * runtime notices a connection that is reset but not one that is closed. So a proxy in front of the runtime resets the
 * connection when its client closes it.
 *
 * @module
 */
import { connect, createServer, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from 'miniflare';
import { unstable_getMiniflareWorkerOptions, unstable_readConfig } from 'wrangler';
import { builtModules } from './built-modules.ts';
import { optionsVariable, type ProgramOptions } from './worker-options.ts';

const { build, state, port, inspectorPort, bindings } = JSON.parse(
  process.env[optionsVariable] ?? '',
) as ProgramOptions;
const config = unstable_readConfig({ config: join(dirname(import.meta.dirname), 'wrangler.toml') });
const { rootPath: _root, modulesRules: _rules, ...worker } = unstable_getMiniflareWorkerOptions(config).workerOptions;
const miniflare = new Miniflare(
  convertV4MiniflareOptions({
    ...worker,
    name: 'timestore',
    host: '127.0.0.1',
    port: 0,
    inspectorPort,
    cf: false,
    modules: builtModules(build),
    modulesRoot: build,
    // Secrets of a deployment in files beside the sources must not be used with the local stores.
    bindings: { ...(config.vars as Record<string, string>), ...bindings },
    resourcePersistencePath: state,
    // GET /cdn-cgi/local/scheduled runs the scheduled handler, as Cloudflare's cron does in a deployment.
    unsafeTriggerHandlers: true,
    log: new Log(LogLevel.WARN),
    handleStructuredLogs: ({ message }) => process.stdout.write(`${message}\n`),
  }),
);
const runtimePort = Number((await miniflare.ready).port);
createServer({ noDelay: true }, proxyConnection).listen(port, '127.0.0.1');

function proxyConnection(client: Socket): void {
  const runtime = connect({ port: runtimePort, host: '127.0.0.1', noDelay: true });
  client.pipe(runtime, { end: false });
  runtime.pipe(client);
  client.on('error', () => undefined).on('close', () => runtime.resetAndDestroy());
  runtime.on('error', () => client.resetAndDestroy());
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => void miniflare.dispose().finally(() => process.exit(0)));
}
