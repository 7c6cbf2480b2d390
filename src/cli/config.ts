import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import envPaths from 'env-paths';
import * as z from 'zod';
import { type ClientOptions, Timestore } from '../client/index.ts';
import { isSystemError, systemMessage, usage } from './failure.ts';
import type { Io } from './io.ts';

/** What every command takes. */
export type CommonOptions = { url?: string; profile?: string; config?: string; json?: boolean; quiet?: boolean };

const profile = z.object({ url: z.url({ protocol: /^https?$/ }), key: z.string().min(1) });

const fileSchema = z.object({
  /** The profile that is used where none is named. */
  use: z.string().optional(),
  profiles: z.record(z.string(), profile).default({}),
});

export type ConfigFile = z.output<typeof fileSchema>;
export type Target = z.output<typeof profile>;

const paths = envPaths('timestore', { suffix: '' });

/** Where it is on record what was sent of files. */
export const stateFolder = join(paths.data, 'ingest');

export function configPath({ config }: CommonOptions, { env }: Io): string {
  return config ?? env.TIMESTORE_CONFIG ?? join(paths.config, 'config.json');
}

/** Throws CliFailure for a file that is not as it should be; none is an empty one. */
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
    // Never the text: it holds keys.
    const issue = error instanceof z.ZodError ? error.issues[0] : undefined;
    const what = issue === undefined ? 'it is no JSON' : `${issue.path.join('.')}: ${issue.message}`;
    throw usage(`${path} cannot be used: ${what}. \`timestore login\` writes such a file.`);
  }
}

/** For its owner alone, and never half written. */
export async function writeConfigFile(path: string, config: ConfigFile): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const part = `${path}.${process.pid}`;
  await writeFile(part, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
  await rename(part, path);
}

/**
 * Which deployment, with which key: from the environment, else from a profile. A profile's key goes to the profile's own
 * address and nowhere else.
 *
 * @throws CliFailure where something is missing
 */
export async function resolveTarget(options: CommonOptions, io: Io): Promise<Target> {
  const { url, key } = await resolveDeployment(options, io);
  if (key === undefined)
    throw usage(`There is no key for ${url}: set TIMESTORE_KEY, or run \`timestore login ${url}\`.`);
  return { url, key };
}

/** The same, for what may be asked without a key. */
export async function resolveDeployment(
  options: CommonOptions,
  io: Io,
): Promise<{ url: string; key: string | undefined }> {
  const { env } = io;
  const asked = options.url ?? (options.profile === undefined ? env.TIMESTORE_URL : undefined);
  if (asked !== undefined && asked !== '') {
    if (!profile.shape.url.safeParse(asked).success) throw usage(`${asked} is no http(s) address.`);
    return { url: trimmed(asked), key: env.TIMESTORE_KEY || (await keyFor(asked, options, io)) };
  }
  const path = configPath(options, io);
  const file = await readConfigFile(path);
  const name = options.profile ?? env.TIMESTORE_PROFILE ?? file.use;
  if (name === undefined) {
    throw usage('No deployment is known. Run `timestore login URL`, or set TIMESTORE_URL and TIMESTORE_KEY.');
  }
  const found = profileIn(file, name);
  if (found === undefined) {
    const known = Object.keys(file.profiles).join(', ');
    throw usage(`There is no profile ${name} in ${path}${known === '' ? '' : `, which has ${known}`}.`);
  }
  // A profile that is asked for has its own: the environment's may be another deployment's.
  return { url: trimmed(found.url), key: (options.profile === undefined && env.TIMESTORE_KEY) || found.key };
}

/** Any name may be asked for, those that every object has among them. */
export function profileIn({ profiles }: ConfigFile, name: string): Target | undefined {
  return Object.hasOwn(profiles, name) ? profiles[name] : undefined;
}

async function keyFor(url: string, options: CommonOptions, io: Io): Promise<string | undefined> {
  const { profiles } = await readConfigFile(configPath(options, io));
  return Object.values(profiles).find((each) => trimmed(each.url) === trimmed(url))?.key;
}

const trimmed = (url: string): string => url.replace(/\/+$/, '');

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
  if (dataset === '' || table === '' || rest.length > 0) throw usage(`"${text}" names no table: write DATASET.TABLE.`);
  return { dataset, table };
}
