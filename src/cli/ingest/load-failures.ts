import type { Table, TimestoreError } from '../../client/index.ts';
import { CliFailure, exitCodes, toFailure } from '../failure.ts';
import { type Batch, findLine } from './cut.ts';
import type { Source } from './source.ts';

export function outcomeUnknown({ line }: Batch, { name }: Source, at_ms: number, why: string): CliFailure {
  return new CliFailure(
    `${name}, from line ${line} on: these rows were sent at ${new Date(at_ms).toISOString()} without an answer. Since then ` +
      `${why}: sending them again could duplicate them. Query the table for these rows, then send the missing ones under ` +
      'another --run.',
  );
}

export function fileChanged({ name }: Source, how: string): CliFailure {
  return new CliFailure(
    `${name} ${how} the file that was sent under this name before, so that its accepted rows cannot be recognised. Restore ` +
      'the earlier file to resume it, or send this file under another name: --run NAME.',
  );
}

export function tableReplaced({ name }: Source, { dataset, name: table }: Table): CliFailure {
  return new CliFailure(
    `${name} was sent to a table ${dataset}.${table} that was deleted since. To send the file to the present table of this ` +
      'name: --run NAME.',
  );
}

export function gaveUp(error: TimestoreError, waited_ms: number): CliFailure {
  const { message } = toFailure(error);
  const since = waited_ms < 1_000 ? '' : ` Nothing was acknowledged for ${Math.round(waited_ms / 1000)} s.`;
  return new CliFailure(`${message}${since}`, exitCodes.later, error);
}

type RowError = { index: number; field: string | null; reason: string; detail?: string };

const listedErrors_max = 10;

export function batchRejected(error: TimestoreError, batch: Batch, { name }: Source): CliFailure {
  const errors = (error.problem.errors ?? []) as RowError[];
  const unit = name.endsWith('.parquet') ? 'row' : 'line';
  if (errors.length === 0) {
    return new CliFailure(
      `${name}, from ${unit} ${batch.line} on: ${toFailure(error).message}`,
      exitCodes.failed,
      error,
    );
  }
  const total = Number(error.problem.errorsTotal ?? errors.length);
  const lines = errors.slice(0, listedErrors_max).map(({ index, field, reason, detail }) => {
    const parts = [field, reason, detail].filter((part) => part !== null && part !== undefined && part !== '');
    return `  ${unit} ${findLine(batch, index)}: ${parts.join(', ')}`;
  });
  if (total > lines.length) lines.push(`  … and ${total - lines.length} more in this batch`);
  return new CliFailure(
    `${name}: ${total === 1 ? '1 row is invalid' : `${total} rows are invalid`}; no row of the batch was accepted.\n` +
      `${lines.join('\n')}\n` +
      'The same command with --on-error quarantine accepts the other rows and quarantines these.',
    exitCodes.failed,
    error,
  );
}
