import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { Timestore } from '../../../client/index.ts';
import { type CommonOptions, connect } from '../../config.ts';
import { CliFailure, usage } from '../../failure.ts';
import type { Io } from '../../io.ts';
import { collect, number, splitPair } from '../../options.ts';
import { tablePath } from '../../paths.ts';
import { confirm, fetchAll, type Item, showList, showOne } from '../../show.ts';
import { names, type RowSelection, selectionOptions, selectRows } from '../query.ts';

export type Job = Item & { id: string; state: string; error: string | null };

type Waiting = CommonOptions & { wait?: boolean; yes?: boolean };

const jobPath = (id: string): string => `/v1/admin/jobs/${encodeURIComponent(id)}`;

const poll_ms = 500;

const readJob = (timestore: Timestore, id: string, { signal }: Io): Promise<Job> =>
  timestore.call<Job>('GET', jobPath(id), { signal });

async function waitForJob(timestore: Timestore, begun: Job, io: Io): Promise<Job> {
  let job = begun;
  while (job.state === 'queued' || job.state === 'running') {
    await delay(poll_ms, undefined, { signal: io.signal });
    job = await readJob(timestore, job.id, io);
  }
  return job;
}

/** Starts a job, waits for it and returns its result. Throws CliFailure for a failed job. */
export async function findReceipt(timestore: Timestore, path: string, body: Item, io: Io): Promise<unknown> {
  const headers = { 'idempotency-key': randomUUID() };
  // The response of an import differs from that of its job.
  const { id } = await timestore.call<{ id: string }>('POST', path, {
    body,
    headers,
    isRepeatable: true,
    signal: io.signal,
  });
  const job = await waitForJob(timestore, await readJob(timestore, id, io), io);
  if (job.state === 'failed') throw new CliFailure(`Job ${id} failed: ${job.error}`);
  return job.result;
}

/** Shows a job, with `wait` after its end. Throws CliFailure for a failed job. */
export async function showJob(timestore: Timestore, begun: Job, options: Waiting, io: Io): Promise<void> {
  const job = options.wait ? await waitForJob(timestore, begun, io) : begun;
  await showOne(job, options, io);
  if (job.state === 'failed') {
    throw new CliFailure(`The job failed: ${job.error}. \`timestore jobs retry ${job.id}\` repeats it.`);
  }
}

export const waiting = (command: Command): Command => command.option('--wait', 'wait for the end');

export function jobCommands(program: Command, io: Io): void {
  const jobs = program.command('jobs').description('manage background jobs: list, show, retry');
  jobs
    .command('list', { isDefault: true })
    .description('list jobs, newest first')
    .option('--dataset <name>')
    .option('--kind <kind>')
    .addOption(new Option('--state <state>').choices(['queued', 'running', 'done', 'failed', 'cancelled']))
    .option('-n, --limit <n>', 'maximum number of results', number(1, 10_000), 50)
    .action(async (_, own: Command) => {
      const options = own.optsWithGlobals<
        CommonOptions & { dataset?: string; kind?: string; state?: string; limit: number }
      >();
      const { timestore } = await connect(options, io);
      const { dataset, kind, state, limit } = options;
      const items = await fetchAll(
        timestore,
        '/v1/admin/jobs',
        'jobs',
        { dataset, kind, state },
        { limit, signal: io.signal },
      );
      await showList(
        items,
        ['id', 'kind', 'dataset', 'table', 'state', 'attempts', 'createdAt', 'finishedAt'],
        options,
        io,
      );
    });
  waiting(jobs.command('show').description('show a job and its result').argument('<id>')).action(
    async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<Waiting>();
      const { timestore } = await connect(options, io);
      await showJob(timestore, await readJob(timestore, id, io), options, io);
    },
  );
  waiting(jobs.command('retry').description('repeat a failed job').argument('<id>')).action(
    async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<Waiting>();
      const { timestore } = await connect(options, io);
      const job = await timestore.call<Job>('POST', `${jobPath(id)}/retry`, { signal: io.signal });
      await showJob(timestore, job, options, io);
    },
  );
}

const rowExamples = `
Examples
  timestore delete-rows demo.readings --where sensor=c --wait
  timestore correct-rows demo.readings --from 2026-05-01 --to 2026-05-02 --set celsius=20.5`;

export function rowCommands(program: Command, io: Io): void {
  const common = (name: string, description: string): Command =>
    waiting(selectionOptions(program.command(name).description(description).argument('<dataset.table>')))
      .option('--key <key>', 'idempotency key: repeating the command does not create another job')
      .option('-y, --yes', 'skip the confirmation prompt')
      .addHelpText('after', rowExamples);
  type Own = Waiting & RowSelection & { key?: string; set?: string[] };
  const begin = async (name: string, kind: 'deletions' | 'corrections', body: Item, what: string, options: Own) => {
    const path = `${tablePath(name)}/${kind}`;
    const { timestore } = await connect(options, io);
    await confirm(what, options, io);
    const headers = { 'idempotency-key': options.key ?? randomUUID() };
    const job = await timestore.call<Job>('POST', path, { body, headers, isRepeatable: true, signal: io.signal });
    await showJob(timestore, job, options, io);
  };
  common('delete-rows', 'delete accepted rows of a table').action(async (name: string, _, own: Command) => {
    const options = own.optsWithGlobals<Own>();
    const selection = selectRows(options);
    if (Object.keys(selection).length === 0) throw usage('Select rows: --from, --to, --last or --where.');
    await begin(name, 'deletions', selection, `This deletes rows of ${name} permanently.`, options);
  });
  common('correct-rows', 'change values of accepted rows')
    .option('--set <column=value>', 'repeatable; a value is JSON, else text', collect)
    .action(async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Own>();
      if (options.set === undefined) throw usage('No change: use --set COLUMN=VALUE.');
      const body = { rows: selectRows(options), set: Object.fromEntries(options.set.map(parseSetting)) };
      await begin(name, 'corrections', body, `This changes rows of ${name} permanently.`, options);
    });
}

function parseSetting(text: string): [string, unknown] {
  const [column, value] = splitPair('--set', text, 'COLUMN=VALUE');
  try {
    return [column, JSON.parse(value)];
  } catch {
    return [column, value];
  }
}

export function backupCommands(program: Command, io: Io): void {
  const backups = program.command('backups').description('manage backups: list, show, create, restore');
  backups
    .command('list', { isDefault: true })
    .description('list backups in the bucket')
    .action(async (_, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions>();
      const { timestore } = await connect(options, io);
      const items = await fetchAll(timestore, '/v1/admin/backups', 'backups', {}, { signal: io.signal });
      await showList(items, ['id', 'finishedAt'], options, io);
    });
  backups
    .command('show')
    .description('show the contents of a backup')
    .argument('<id>')
    .action(async (id: string, _, own: Command) => {
      const { timestore } = await connect(own.optsWithGlobals(), io);
      const path = `/v1/admin/backups/${encodeURIComponent(id)}`;
      await showOne(await timestore.call<Item>('GET', path, { signal: io.signal }), own.optsWithGlobals(), io);
    });
  const begin = async (path: string, options: Waiting & { datasets?: string }) => {
    const { timestore } = await connect(options, io);
    const body = options.datasets === undefined ? {} : { datasets: names(options.datasets) };
    const job = await timestore.call<Job>('POST', path, { body, signal: io.signal });
    await showJob(timestore, job, options, io);
  };
  waiting(backups.command('create').description('back up all accepted rows to the bucket'))
    .option('--datasets <names>', 'only these datasets, comma-separated')
    .action(async (_, own: Command) => begin('/v1/admin/backups', own.optsWithGlobals()));
  waiting(backups.command('restore').description('restore tables that do not exist').argument('<id>'))
    .option('--datasets <names>', 'only these datasets, comma-separated')
    .action(async (id: string, _, own: Command) =>
      begin(`/v1/admin/backups/${encodeURIComponent(id)}/restore`, own.optsWithGlobals()),
    );
}
