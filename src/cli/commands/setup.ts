import type { Command } from 'commander';
import { Timestore, TimestoreError } from '../../client/index.ts';
import { ConfigError } from '../../core/config.ts';
import { ApiError as ServerError, StoreError } from '../../core/errors.ts';
import { type CommonOptions, configPath, profileIn, readConfigFile, writeConfigFile } from '../config.ts';
import { CliFailure, exitCodes, usage } from '../failure.ts';
import type { Io } from '../io.ts';
import { askSecret } from '../secret.ts';
import { showList } from '../show.ts';

const loginExamples = `
Examples
  timestore login https://timestore.example.com
  timestore login http://127.0.0.1:8787 --profile local
  cat key.txt | timestore login https://timestore.example.com`;

export function setupCommands(program: Command, io: Io): void {
  program
    .command('login')
    .description('save the URL and the key of a deployment as a profile')
    .argument('<url>')
    .addHelpText('after', loginExamples)
    .action(async (url: string, _, own: Command) => login(url, own.optsWithGlobals<CommonOptions>(), io));
  program
    .command('logout')
    .description('delete a profile and its key')
    .argument('[profile]', 'default: the active profile')
    .action(async (name: string | undefined, _, own: Command) =>
      logout(name, own.optsWithGlobals<CommonOptions>(), io),
    );
  program
    .command('profiles')
    .description('list profiles without their keys')
    .action(async (_, own: Command) => profiles(own.optsWithGlobals<CommonOptions>(), io));
  program
    .command('migrate')
    .description(
      'migrate Postgres and ClickHouse to this version; reads DATABASE_URL and CLICKHOUSE_… from the environment',
    )
    .action(async (_, own: Command) => migrateStores(own.optsWithGlobals<CommonOptions>(), io));
}

async function login(url: string, options: CommonOptions, io: Io): Promise<void> {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) throw usage(`${url} is not an http(s) URL.`);
  const key = io.env.TIMESTORE_KEY || (await askSecret('Key: ', io));
  if (key === '') throw usage('The key is empty.');
  // An object literal would not store this name.
  if (options.profile === '__proto__') throw usage('Invalid profile name.');
  const timestore = new Timestore({ url, key, attempts: 2 });
  try {
    await timestore.call('GET', '/v1/sql/schema', { signal: io.signal });
  } catch (error) {
    // A valid key may not have the scope sql.
    if (!(error instanceof TimestoreError && error.code === 'forbidden')) throw error;
  }
  const path = configPath(options, io);
  const file = await readConfigFile(path);
  const name = options.profile ?? new URL(url).host;
  await writeConfigFile(path, { use: name, profiles: { ...file.profiles, [name]: { url, key } } });
  io.stderr.write(`Profile ${name} is active. Saved in ${path}.\n`);
}

async function logout(name: string | undefined, options: CommonOptions, io: Io): Promise<void> {
  const path = configPath(options, io);
  const file = await readConfigFile(path);
  const removed = name ?? options.profile ?? file.use;
  if (removed === undefined || profileIn(file, removed) === undefined)
    throw usage(removed === undefined ? 'No active profile.' : `Unknown profile ${removed}.`);
  const { [removed]: _, ...remaining } = file.profiles;
  await writeConfigFile(path, { profiles: remaining, ...(file.use !== removed && { use: file.use }) });
  io.stderr.write(`Deleted profile ${removed}. Its key stays valid until \`timestore keys revoke\`.\n`);
}

async function profiles(options: CommonOptions, io: Io): Promise<void> {
  const file = await readConfigFile(configPath(options, io));
  const items = Object.entries(file.profiles).map(([name, { url }]) => ({ name, url, inUse: name === file.use }));
  await showList(items, ['name', 'url', 'inUse'], options, io);
}

async function migrateStores({ json }: CommonOptions, io: Io): Promise<void> {
  // Only this command needs the clients of the stores.
  const { migrate, readerLacks } = await import('../migrate.ts');
  let applied: string[];
  let lacking: string[];
  try {
    applied = await migrate(io.env);
    lacking = await readerLacks(io.env);
  } catch (error) {
    if (error instanceof ConfigError) throw usage(error.message);
    if (error instanceof StoreError) {
      const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
      throw new CliFailure(`${error.message}${cause}`, exitCodes.later, error);
    }
    throw error instanceof ServerError ? new CliFailure(error.message) : error;
  }
  for (const each of lacking) io.stderr.write(`Warning: ClickHouse reader: ${each}.\n`);
  if (lacking.length > 0)
    io.stderr.write('sql/clickhouse/users.sql has the required settings, in the syntax of ALTER USER.\n');
  if (json) io.stdout.write(`${JSON.stringify({ applied, lacking })}\n`);
  else io.stdout.write(applied.length === 0 ? 'Nothing to migrate.\n' : `Applied ${applied.join(', ')}.\n`);
}
