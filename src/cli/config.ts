import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import envPaths from 'env-paths';
import * as z from 'zod';
import { type ClientOptions, Timestore } from '../client/index.ts';
import { isSystemError, systemMessage, usage } from './failure.ts';
import type { Io } from './io.ts';

/** Options of every command. */
export type CommonOptions = { url?: string; profile?: string; config?: string; json?: boolean; quiet?: boolean };

const profile = z.object({ url: z.url({ protocol: /^https?$/ }), key: z.string().min(1) });

const fileSchema = z.object({
  /** The active profile. */
  use: z.string().optional(),
  profiles: z.record(z.string(), profile).default({}),
});

export type ConfigFile = z.output<typeof fileSchema>;
export type Target = z.output<typeof profile>;

const paths = envPaths('timestore', { suffix: '' });

/** The folder of the journals of sent files. */
export const stateFolder = join(paths.data, 'ingest');

export function configPath({ config }: CommonOptions, { env }: Io): string {
  return config ?? env.TIMESTORE_CONFIG ?? join(paths.config, 'config.json');
}

/** Throws CliFailure for an invalid file. A missing file is an empty one. */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isSystemError(error) && error.code === 'ENOENT') return { profiles: {} };
    throw isSystemError(error) ? usage(systemMessage(error, path)) : error;
  }
  try {
    return fileSchema.parse(JSON.parse(text));
  } catch (error) {
    // The text must not be printed: it contains keys.
    const issue = error instanceof z.ZodError ? error.issues[0] : undefined;
    const problem = issue === undefined ? 'it is not JSON' : `${issue.path.join('.')}: ${issue.message}`;
    throw usage(`${path} is invalid: ${problem}. \`timestore login\` writes this file.`);
  }
}

/** Writes the file atomically, readable by its owner only. */
export async function writeConfigFile(path: string, config: ConfigFile): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const part = `${path}.${process.pid}`;
  await writeFile(part, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
  await rename(part, path);
}

/**
 * The deployment and its key, from the environment, else from a profile. The key of a profile is only sent to its own URL.
 *
 * @throws CliFailure for a missing URL or key
 */
export async function resolveTarget(options: CommonOptions, io: Io): Promise<Target> {
  const { url, key } = await resolveDeployment(options, io);
  if (key === undefined) throw usage(`No key for ${url}: set TIMESTORE_KEY, or run \`timestore login ${url}\`.`);
  return { url, key };
}

/** The deployment, for requests that need no key. */
export async function resolveDeployment(
  options: CommonOptions,
  io: Io,
): Promise<{ url: string; key: string | undefined }> {
  const { env } = io;
  const requested = options.url ?? (options.profile === undefined ? env.TIMESTORE_URL : undefined);
  if (requested !== undefined && requested !== '') {
    if (!profile.shape.url.safeParse(requested).success) throw usage(`${requested} is not an http(s) URL.`);
    return { url: trimSlashes(requested), key: env.TIMESTORE_KEY || (await keyFor(requested, options, io)) };
  }
  const path = configPath(options, io);
  const file = await readConfigFile(path);
  const name = options.profile ?? env.TIMESTORE_PROFILE ?? file.use;
  if (name === undefined) {
    throw usage('No deployment is configured. Run `timestore login URL`, or set TIMESTORE_URL and TIMESTORE_KEY.');
  }
  const found = profileIn(file, name);
  if (found === undefined) {
    const known = Object.keys(file.profiles).join(', ');
    throw usage(`Unknown profile ${name} in ${path}${known === '' ? '' : `, which has ${known}`}.`);
  }
  // With --profile, a key of the environment may belong to another deployment.
  return { url: trimSlashes(found.url), key: (options.profile === undefined && env.TIMESTORE_KEY) || found.key };
}

/** `hasOwn` excludes names such as `constructor`. */
export function profileIn({ profiles }: ConfigFile, name: string): Target | undefined {
  return Object.hasOwn(profiles, name) ? profiles[name] : undefined;
}

async function keyFor(url: string, options: CommonOptions, io: Io): Promise<string | undefined> {
  const { profiles } = await readConfigFile(configPath(options, io));
  return Object.values(profiles).find((each) => trimSlashes(each.url) === trimSlashes(url))?.key;
}

const trimSlashes = (url: string): string => url.replace(/\/+$/, '');

export async function connect(
  options: CommonOptions,
  io: Io,
  client: Pick<ClientOptions, 'attempts'> = {},
): Promise<{ timestore: Timestore; url: string }> {
  const { url, key } = await resolveTarget(options, io);
  const onLoopback = ['localhost', '127.0.0.1', '[::1]'].includes(new URL(url).hostname);
  if (url.startsWith('http:') && !onLoopback) {
    io.stderr.write(`Warning: the key and the rows go to ${url} unencrypted.\n`);
  }
  return { timestore: new Timestore({ compress: !onLoopback, ...client, url, key }), url };
}

/** `dataset.table`. */
export function tableName(text: string): { dataset: string; table: string } {
  const [dataset = '', table = '', ...rest] = text.split('.');
  if (dataset === '' || table === '' || rest.length > 0)
    throw usage(`"${text}" is not a table name: use DATASET.TABLE.`);
  return { dataset, table };
}
