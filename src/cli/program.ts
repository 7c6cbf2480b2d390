import { Command, CommanderError } from 'commander';
import { compareCommand } from './commands/admin/compare.ts';
import { cutoverCommand } from './commands/admin/cutover.ts';
import { datasetCommands } from './commands/admin/datasets.ts';
import { exportCommands, scheduleCommands } from './commands/admin/exports.ts';
import { importCommands } from './commands/admin/imports.ts';
import { backupCommands, jobCommands, rowCommands } from './commands/admin/jobs.ts';
import { keyCommands } from './commands/admin/keys.ts';
import {
  callCommand,
  maintenanceCommands,
  monitoringCommands,
  quarantineCommands,
  savedCommands,
} from './commands/admin/operations.ts';
import { tableCommands } from './commands/admin/tables.ts';
import { webhookCommands } from './commands/admin/webhooks.ts';
import { ingestCommand } from './commands/ingest.ts';
import { monitorCommands } from './commands/monitor/index.ts';
import { queryCommand } from './commands/query.ts';
import { setupCommands } from './commands/setup.ts';
import { sqlCommand } from './commands/sql.ts';
import { tailCommand } from './commands/tail.ts';
import { exitCodes, toFailure } from './failure.ts';
import type { Io } from './io.ts';

const help = `
Deployment and key
  timestore login URL                        save a URL and a key
  TIMESTORE_URL, TIMESTORE_KEY               override the saved ones

Exit codes
  0 success · 1 rejected or failed · 2 invalid command line or configuration · 75 temporary failure · 130 interrupted`;

/** All commands. */
export function createProgram(version: string, io: Io): Command {
  const program = new Command('timestore')
    .description('Ingest rows over HTTPS, exactly once, and query them in ClickHouse at once.')
    .version(version)
    .option('--url <url>', 'URL of the deployment; default: TIMESTORE_URL, else the active profile')
    .option('--profile <name>', 'a profile of `timestore login`')
    .option('--config <file>', 'file of the profiles')
    .option('--json', 'JSON output')
    .option('-q, --quiet', 'no progress output')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeOut: (text) => io.stdout.write(text), writeErr: (text) => io.stderr.write(text) })
    .showSuggestionAfterError()
    .addHelpText('after', help)
    .exitOverride();
  const groups = [
    ['Rows', [ingestCommand, queryCommand, sqlCommand, tailCommand, savedCommands, rowCommands]],
    ['Catalogue', [datasetCommands, tableCommands, keyCommands]],
    ['Service monitoring', [monitorCommands]],
    [
      'Operation',
      [
        monitoringCommands,
        maintenanceCommands,
        jobCommands,
        quarantineCommands,
        exportCommands,
        scheduleCommands,
        webhookCommands,
        importCommands,
        compareCommand,
        cutoverCommand,
        backupCommands,
      ],
    ],
    ['Set-up', [setupCommands, callCommand]],
  ] as const;
  for (const [title, commands] of groups) {
    program.commandsGroup(title);
    for (const add of commands) add(program, io);
  }
  return program;
}

/** Runs a command line and prints its failure. Returns the exit code. */
export async function run(args: string[], version: string, io: Io): Promise<number> {
  try {
    await createProgram(version, io).parseAsync(args, { from: 'user' });
    return exitCodes.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    const failure = toFailure(error);
    io.stderr.write(`${failure.message}\n`);
    return failure.exitCode;
  }
}
