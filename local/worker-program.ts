/**
 * Runs the built Worker in its runtime, as `wrangler.toml` says. A runtime that ends is replaced.
 *
 * The Worker has to see that a client has left, to take its query back. The proxy of `wrangler dev` keeps that from it, and
 * the runtime by itself takes no notice of a connection that is closed but of one that is reset: so a door in front of it
 * resets what its client closes.
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
    // Secrets of a deployment that lie beside its sources are not for this machine's stores.
    bindings: { ...(config.vars as Record<string, string>), ...bindings },
    resourcePersistencePath: state,
    // What Cloudflare's clock does in a deployment is asked for at /cdn-cgi/local/scheduled.
    unsafeTriggerHandlers: true,
    log: new Log(LogLevel.WARN),
    handleStructuredLogs: ({ message }) => process.stdout.write(`${message}\n`),
  }),
);
const runtimePort = Number((await miniflare.ready).port);
createServer({ noDelay: true }, passOn).listen(port, '127.0.0.1');

function passOn(client: Socket): void {
  const runtime = connect({ port: runtimePort, host: '127.0.0.1', noDelay: true });
  client.pipe(runtime, { end: false });
  runtime.pipe(client);
  client.on('error', () => undefined).on('close', () => runtime.resetAndDestroy());
  runtime.on('error', () => client.resetAndDestroy());
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => void miniflare.dispose().finally(() => process.exit(0)));
}
