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
    .description('keeps an address and its key, for you alone')
    .argument('<url>')
    .addHelpText('after', loginExamples)
    .action(async (url: string, _, own: Command) => login(url, own.optsWithGlobals<CommonOptions>(), io));
  program
    .command('logout')
    .description('forgets a profile and its key')
    .argument('[profile]', 'the one in use if left out')
    .action(async (name: string | undefined, _, own: Command) =>
      logout(name, own.optsWithGlobals<CommonOptions>(), io),
    );
  program
    .command('profiles')
    .description('what is kept, without the keys')
    .action(async (_, own: Command) => profiles(own.optsWithGlobals<CommonOptions>(), io));
  program
    .command('migrate')
    .description(
      'brings Postgres and ClickHouse to this version; takes DATABASE_URL and CLICKHOUSE_… from the environment',
    )
    .action(async (_, own: Command) => migrateStores(own.optsWithGlobals<CommonOptions>(), io));
}

async function login(url: string, options: CommonOptions, io: Io): Promise<void> {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) throw usage(`${url} is no http(s) address.`);
  const key = io.env.TIMESTORE_KEY || (await askSecret('Key: ', io));
  if (key === '') throw usage('There was no key.');
  // The file would lose it.
  if (options.profile === '__proto__') throw usage('A profile cannot have this name.');
  const timestore = new Timestore({ url, key, attempts: 2 });
  try {
    await timestore.call('GET', '/v1/sql/schema', { signal: io.signal });
  } catch (error) {
    // A key that may not use SQL is a good one all the same.
    if (!(error instanceof TimestoreError && error.code === 'forbidden')) throw error;
  }
  const path = configPath(options, io);
  const file = await readConfigFile(path);
  const name = options.profile ?? new URL(url).host;
  await writeConfigFile(path, { use: name, profiles: { ...file.profiles, [name]: { url, key } } });
  io.stderr.write(`Profile ${name} is in use, and kept in ${path}.\n`);
}

async function logout(name: string | undefined, options: CommonOptions, io: Io): Promise<void> {
  const path = configPath(options, io);
  const file = await readConfigFile(path);
  const gone = name ?? options.profile ?? file.use;
  if (gone === undefined || profileIn(file, gone) === undefined)
    throw usage(`There is no profile ${gone ?? 'in use'}.`);
  const { [gone]: _, ...left } = file.profiles;
  await writeConfigFile(path, { profiles: left, ...(file.use !== gone && { use: file.use }) });
  io.stderr.write(`Profile ${gone} is forgotten here. Its key is as good as before: timestore keys revoke.\n`);
}

async function profiles(options: CommonOptions, io: Io): Promise<void> {
  const file = await readConfigFile(configPath(options, io));
  const items = Object.entries(file.profiles).map(([name, { url }]) => ({ name, url, inUse: name === file.use }));
  await showList(items, ['name', 'url', 'inUse'], options, io);
}

async function migrateStores({ json }: CommonOptions, io: Io): Promise<void> {
  // The stores' clients, which no other command needs.
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
    io.stderr.write('Its limits are in sql/clickhouse/users.sql, in the words that ALTER USER takes.\n');
  if (json) io.stdout.write(`${JSON.stringify({ applied, lacking })}\n`);
  else io.stdout.write(applied.length === 0 ? 'Nothing to migrate.\n' : `Applied ${applied.join(', ')}.\n`);
}
