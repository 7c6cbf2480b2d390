import type { Command } from 'commander';
import type { CommonOptions } from '../../config.ts';
import type { Io } from '../../io.ts';
import { applyCommands } from './apply.ts';
import { importCommands } from './import.ts';
import { resourceCommands } from './resources.ts';
import { setUpCommand } from './set-up.ts';
import { statusCommand } from './status.ts';
import { validateCommand } from './validate.ts';

/** Options of every command of service monitoring. */
export type MonitorOptions = CommonOptions & { dataset: string };

export function monitorCommands(program: Command, io: Io): void {
  const monitor = program
    .command('monitor')
    .description('service monitoring: its resources, as single ones and as files')
    .option('--dataset <name>', 'the monitored dataset', 'monitor');
  setUpCommand(monitor, io);
  validateCommand(monitor, io);
  statusCommand(monitor, io);
  applyCommands(monitor, io);
  resourceCommands(monitor, io);
  importCommands(monitor, io);
}
