/**
 * Arguments and environment variables of the start command. Nothing else in local/ reads them.
 *
 * @module
 */
import { dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { settingNames } from '../src/core/config.ts';
import { externalClickHouse, externalPostgres, externalRedis, externalS3 } from './engines/addresses.ts';
import { portsFetchRefuses } from './engines/ports.ts';
import { type External, type NodePorts, nodePortsFrom, type Ports, portsFrom } from './stack.ts';

export const root = dirname(import.meta.dirname);

export type Options = {
  once: boolean;
  /** The Worker's port. */
  port: number;
  inspectorPort: number;
  ports: Ports;
  /** Ports of the nodes of a ClickHouse cluster. */
  nodes: NodePorts[];
  dataDir: string;
  collectSeconds: number;
  external: External;
  /** Settings of the deployment, by the names of its environment variables. */
  settings: Record<string, string>;
  /** Epoch ms at which the command began, and the time that installing packages took. */
  startedAt: number;
  installMs: number;
};

export type Command = { run: Options } | { help: string } | { problems: string[]; exitCode: 1 | 2 };

type Env = Record<string, string | undefined>;

const defaults = { port: 8787, portBase: 8790, collectSeconds: 5, dataDir: '.local' } as const;
/** base+0 … base+6 are the engines', base+7 is the Worker's inspector. */
const inspectorOffset = 7;

const help = `Starts Timestore on this machine: ClickHouse, Redis, Postgres, S3 and the Worker, then collects this
machine's metrics into dataset "machine", table "metrics", until Ctrl-C.

  npm start                    until Ctrl-C
  npm start -- --once          send rows, query, flush, query again, show the proof, stop; exit code 0 or 1
  npm start -- --nodes 3       with a ClickHouse cluster of three shards; each shard keeps its rows
  npm start -- --help          show this help
  npm run reset                remove the data folder

Environment
  PORT                         the Worker's port on 127.0.0.1 (${defaults.port})
  LOCAL_PORT_BASE              the first of the 8 ports for the engines and the inspector (${defaults.portBase}), and of
                                 three more for each node
  LOCAL_DATA_DIR               the data folder (${defaults.dataDir})
  LOCAL_COLLECT_SECONDS        seconds between two collections (${defaults.collectSeconds})
  LOCAL_CLICKHOUSE_URL         use these servers, which run already:
  LOCAL_REDIS_URL                http(s)://user:password@host:port, redis://…,
  LOCAL_POSTGRES_URL             postgresql://user:password@host/database,
  LOCAL_S3_ENDPOINT              http(s)://key:secret@host:port?region=…&bucket=…
  TIMESTORE_…, OTEL_…          settings of a deployment, except the addresses of its stores

A second stack at the same time needs its own PORT, LOCAL_PORT_BASE and LOCAL_DATA_DIR.`;

/** Reads arguments and environment, and returns all problems at once. */
export function readCommand(args: string[], env: Env): Command {
  const flags = readFlags(args);
  if ('problem' in flags) return { problems: [flags.problem], exitCode: 2 };
  if (flags.help) return { help };
  const problems: string[] = [];
  const readInteger = (name: string, fallback: number, lowest: number, highest: number): number => {
    const text = env[name];
    if (text === undefined || text === '') return fallback;
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= lowest && value <= highest) return value;
    problems.push(`${name} must be a whole number from ${lowest} to ${highest}, not "${text}".`);
    return fallback;
  };
  const port = readInteger('PORT', defaults.port, 1, 65_535);
  const base = readInteger('LOCAL_PORT_BASE', defaults.portBase, 1024, 65_535 - inspectorOffset);
  const collectSeconds = readInteger('LOCAL_COLLECT_SECONDS', defaults.collectSeconds, 1, 3_600);
  const nodes = flags.nodes === 1 ? [] : nodePortsFrom(base, flags.nodes);
  const last = Math.max(base + inspectorOffset, ...nodes.map(({ gate }) => gate));
  if (port >= base && port <= last && problems.length === 0) {
    problems.push(`PORT ${port} is one of the ports ${base} to ${last} of LOCAL_PORT_BASE: change one of the two.`);
  }
  for (const [name, first, end] of [
    ['PORT', port, port],
    ['LOCAL_PORT_BASE', base, last],
  ] as const) {
    const refused = [...portsFetchRefuses].find((each) => each >= first && each <= end);
    if (refused !== undefined) problems.push(`${name}: browsers and fetch refuse port ${refused}. Choose another one.`);
  }
  const external = readExternal(env, problems);
  if (flags.nodes > 1 && external.clickhouseUrl !== undefined) {
    problems.push(
      '--nodes starts local servers, and LOCAL_CLICKHOUSE_URL names an external one: use only one of the two.',
    );
  }
  if (problems.length > 0) return { problems, exitCode: 1 };
  return {
    run: {
      once: flags.once,
      port,
      inspectorPort: base + inspectorOffset,
      ports: portsFrom(base),
      nodes,
      dataDir: readDataDir(env),
      collectSeconds,
      external,
      settings: readSettings(env),
      startedAt: Number(env.LOCAL_STARTED_AT ?? Date.now()),
      installMs: Number(env.LOCAL_INSTALL_MS ?? 0),
    },
  };
}

/** Settings of the deployment from the caller's environment. The stack sets the addresses of the stores. */
function readSettings(env: Env): Record<string, string> {
  return Object.fromEntries(settingNames.flatMap((name) => (env[name] ? [[name, env[name]]] : [])));
}

export function readDataDir(env: Env): string {
  return resolve(root, env.LOCAL_DATA_DIR || defaults.dataDir);
}

/** The caller's environment without variables that change the behaviour of Wrangler, its bundler or its Node.js. */
export function environmentForWorker(env: Env): Env {
  return Object.fromEntries(
    Object.entries(env).filter(
      ([name]) => !/^(CLOUDFLARE_|CF_|WRANGLER_|MINIFLARE_|NODE_|(HTTPS?|ALL)_PROXY$)/i.test(name),
    ),
  );
}

function readFlags(args: string[]): { once: boolean; help: boolean; nodes: number } | { problem: string } {
  try {
    const { values } = parseArgs({
      args,
      options: { once: { type: 'boolean' }, help: { type: 'boolean', short: 'h' }, nodes: { type: 'string' } },
    });
    const nodes = /^[1-9]$/.test(values.nodes ?? '1') ? Number(values.nodes ?? 1) : 0;
    if (nodes === 0) return { problem: `--nodes must be a number from 1 to 9, not "${values.nodes}".` };
    return { once: values.once ?? false, help: values.help ?? false, nodes };
  } catch (error) {
    const [reason] = (error as Error).message.split('. To specify');
    return { problem: `${reason}. \`npm start -- --help\` lists the options.` };
  }
}

function readExternal(env: Env, problems: string[]): External {
  const checks = {
    clickhouseUrl: ['LOCAL_CLICKHOUSE_URL', externalClickHouse],
    redisUrl: ['LOCAL_REDIS_URL', externalRedis],
    postgresUrl: ['LOCAL_POSTGRES_URL', externalPostgres],
    s3Endpoint: ['LOCAL_S3_ENDPOINT', externalS3],
  } as const satisfies Record<keyof External, readonly [string, (text: string) => unknown]>;
  const external: External = {};
  for (const [name, [variable, check]] of Object.entries(checks)) {
    const text = env[variable];
    if (!text) continue;
    try {
      check(text);
      external[name as keyof External] = text;
    } catch (error) {
      problems.push((error as Error).message.replace(/^\w+: /, ''));
    }
  }
  return external;
}
