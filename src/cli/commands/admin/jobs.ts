import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { Timestore } from '../../../client/index.ts';
import { type CommonOptions, connect } from '../../config.ts';
import { CliFailure, usage } from '../../failure.ts';
import type { Io } from '../../io.ts';
import { collect, number, verificationSides } from '../../options.ts';
import { tablePath } from '../../paths.ts';
import { confirm, fetchAll, type Item, showList, showOne } from '../../show.ts';
import { type Choosing, choosingOptions, chosenRows, names } from '../query.ts';

export type Job = Item & { id: string; state: string; error: string | null };

type Waiting = CommonOptions & { wait?: boolean; yes?: boolean };

const jobPath = (id: string): string => `/v1/admin/jobs/${encodeURIComponent(id)}`;

const everyMs = 500;

const readJob = (timestore: Timestore, id: string, { signal }: Io): Promise<Job> =>
  timestore.call<Job>('GET', jobPath(id), { signal });

async function whenOver(timestore: Timestore, begun: Job, io: Io): Promise<Job> {
  let job = begun;
  while (job.state === 'queued' || job.state === 'running') {
    await delay(everyMs, undefined, { signal: io.signal });
    job = await readJob(timestore, job.id, io);
  }
  return job;
}

/** Begins a job, and waits for it. Returns its receipt. Throws CliFailure for one that has failed. */
export async function findReceipt(timestore: Timestore, path: string, body: Item, io: Io): Promise<unknown> {
  const headers = { 'idempotency-key': randomUUID() };
  // An import is answered with other things than its job is.
  const { id } = await timestore.call<{ id: string }>('POST', path, {
    body,
    headers,
    isRepeatable: true,
    signal: io.signal,
  });
  const job = await whenOver(timestore, await readJob(timestore, id, io), io);
  if (job.state === 'failed') throw new CliFailure(`The job ${id} has failed: ${job.error}`);
  return job.result;
}

/** Shows a job, when it is over if so asked. Throws CliFailure for one that has failed. */
export async function showJob(timestore: Timestore, begun: Job, options: Waiting, io: Io): Promise<void> {
  const job = options.wait ? await whenOver(timestore, begun, io) : begun;
  await showOne(job, options, io);
  if (job.state === 'failed') {
    throw new CliFailure(`The job has failed: ${job.error}. \`timestore jobs retry ${job.id}\` tries it again.`);
  }
}

export const waiting = (command: Command): Command => command.option('--wait', 'until it is over');

export function jobCommands(program: Command, io: Io): void {
  const jobs = program.command('jobs').description('work that outlives a request: list, show, retry');
  jobs
    .command('list', { isDefault: true })
    .description('the newest first')
    .option('--dataset <name>')
    .option('--kind <kind>')
    .addOption(new Option('--state <state>').choices(['queued', 'running', 'done', 'failed', 'cancelled']))
    .option('-n, --limit <n>', 'most of them', number(1, 10_000), 50)
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
  waiting(jobs.command('show').description('one, with its receipt').argument('<id>')).action(
    async (id: string, _, own: Command) => {
      const options = own.optsWithGlobals<Waiting>();
      const { timestore } = await connect(options, io);
      await showJob(timestore, await readJob(timestore, id, io), options, io);
    },
  );
  waiting(jobs.command('retry').description('one that has failed').argument('<id>')).action(
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
    waiting(choosingOptions(program.command(name).description(description).argument('<dataset.table>')))
      .option('--key <key>', 'the same request with the same key is the same job')
      .option('-y, --yes', 'without asking')
      .addHelpText('after', rowExamples);
  type Own = Waiting & Choosing & { key?: string; set?: string[] };
  const begin = async (name: string, kind: 'deletions' | 'corrections', body: Item, what: string, options: Own) => {
    const path = `${tablePath(name)}/${kind}`;
    const { timestore } = await connect(options, io);
    await confirm(what, options, io);
    const headers = { 'idempotency-key': options.key ?? randomUUID() };
    const job = await timestore.call<Job>('POST', path, { body, headers, isRepeatable: true, signal: io.signal });
    await showJob(timestore, job, options, io);
  };
  common('delete-rows', 'rows of a table that were accepted until now').action(
    async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Own>();
      const chosen = chosenRows(options);
      if (Object.keys(chosen).length === 0) throw usage('Say which rows: --from, --to, --last or --where.');
      await begin(name, 'deletions', chosen, `Rows of ${name} are deleted for good.`, options);
    },
  );
  common('correct-rows', 'values of rows that were accepted until now')
    .option('--set <column=value>', 'may be repeated; a value is what it is as JSON, else text', collect)
    .action(async (name: string, _, own: Command) => {
      const options = own.optsWithGlobals<Own>();
      if (options.set === undefined) throw usage('Say what changes: --set COLUMN=VALUE.');
      const body = { rows: chosenRows(options), set: Object.fromEntries(options.set.map(parseSetting)) };
      await begin(name, 'corrections', body, `Rows of ${name} are changed for good.`, options);
    });
}

function parseSetting(text: string): [string, unknown] {
  const [column, value] = verificationSides('--set', text, 'COLUMN=VALUE');
  try {
    return [column, JSON.parse(value)];
  } catch {
    return [column, value];
  }
}

export function backupCommands(program: Command, io: Io): void {
  const backups = program.command('backups').description('copies of everything: list, show, create, restore');
  backups
    .command('list', { isDefault: true })
    .description('those in the bucket')
    .action(async (_, own: Command) => {
      const options = own.optsWithGlobals<CommonOptions>();
      const { timestore } = await connect(options, io);
      const items = await fetchAll(timestore, '/v1/admin/backups', 'backups', {}, { signal: io.signal });
      await showList(items, ['id', 'finishedAt'], options, io);
    });
  backups
    .command('show')
    .description('what is in one')
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
  waiting(backups.command('create').description('copies everything accepted until now into the bucket'))
    .option('--datasets <names>', 'these alone, with commas between')
    .action(async (_, own: Command) => begin('/v1/admin/backups', own.optsWithGlobals()));
  waiting(backups.command('restore').description('brings back tables that are not there').argument('<id>'))
    .option('--datasets <names>', 'these alone, with commas between')
    .action(async (id: string, _, own: Command) =>
      begin(`/v1/admin/backups/${encodeURIComponent(id)}/restore`, own.optsWithGlobals()),
    );
}
