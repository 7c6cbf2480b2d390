import * as z from 'zod';
import { noteJob } from '../buffer/due.ts';
import { auditLine } from '../catalog/audit-log/statement.ts';
import { ApiError } from '../core/errors.ts';
import { notFound } from '../core/not-found.ts';
import { currentActor } from '../core/request-context.ts';
import { checkRows } from '../stores/check-rows.ts';
import { epochMs, type Params } from '../stores/postgres/client.ts';
import { fromJsonb, toJsonb } from '../stores/postgres/jsonb.ts';
import type { JobDeps } from './deps.ts';

export const jobStates = ['queued', 'running', 'done', 'failed', 'cancelled'] as const;

const stored = z.record(z.string(), z.unknown()).transform((value) => fromJsonb(value));

const recorded = z.object({
  n: z.string(),
  id: z.string(),
  state: z.enum(jobStates),
  /** The parameters of the job. */
  request: stored,
  /** State that earlier steps leave for later ones. */
  progress: stored,
  /** The receipt. */
  result: stored.nullable(),
  error: z.string().nullable(),
  attempts: z.number(),
  actor: z.string(),
  createdAt_ms: z.number(),
  finishedAt_ms: z.number().nullable(),
  /** Lives of its dataset and its table at the job's creation. Null without either, and for jobs of earlier versions. */
  datasetLife: z.number().nullable(),
  life: z.number().nullable(),
  /** Whether its dataset is still in that life. */
  isOfThisLife: z.boolean(),
});

const tableJob = <Kind extends string>(kind: Kind) =>
  recorded.extend({ kind: z.literal(kind), dataset: z.string(), table: z.string() });
const datasetJob = <Kind extends string>(kind: Kind) =>
  recorded.extend({ kind: z.literal(kind), dataset: z.string(), table: z.null() });
const otherJob = <Kind extends string>(kind: Kind) =>
  recorded.extend({ kind: z.literal(kind), dataset: z.string().nullable(), table: z.null() });

/**
 * A row of `jobColumns`, by kind: the subject of a job is a table, a dataset, or neither. Its records are checked by the
 * definition of the kind, where a step or a view needs them: a list also has jobs that earlier versions recorded.
 */
export const jobRow = z.discriminatedUnion('kind', [
  tableJob('delete-rows'),
  tableJob('correct-rows'),
  tableJob('drop-table'),
  tableJob('export'),
  tableJob('import'),
  tableJob('compare'),
  tableJob('mirror'),
  datasetJob('drop-dataset'),
  datasetJob('apply-retention'),
  datasetJob('alert'),
  otherJob('backup'),
  otherJob('restore'),
  otherJob('notify'),
]);

/** A recorded job. */
export type Job = z.output<typeof jobRow>;
export type JobKind = Job['kind'];
export type JobOfKind<Kind extends JobKind> = Extract<Job, { kind: Kind }>;
export const jobKinds = jobRow.options.map(({ shape }) => shape.kind.value);

export const jobColumns = `n, id, kind, dataset, "table", state, request, progress, result, error, attempts, actor,
  ${epochMs('created_at')} as "createdAt_ms", ${epochMs('finished_at')} as "finishedAt_ms",
  dataset_life as "datasetLife", life, coalesce(dataset_life = life_of_dataset(dataset), true) as "isOfThisLife"`;

export function isOfKind<Kind extends JobKind>(kinds: readonly Kind[], job: Job): job is JobOfKind<Kind> {
  return kinds.some((kind) => kind === job.kind);
}

type Target<Each = Job> = Each extends Job ? Pick<Each, 'kind' | 'dataset' | 'table'> : never;

export type NewJob = Target & {
  request: object;
  /** A second job with the same id is not created. */
  id?: string | undefined;
  /** State at the time of creation, for the first step. */
  progress?: object;
};

/**
 * Records a job. An existing job with the same id and the same request stays unchanged and is returned.
 *
 * @throws TimestoreError `key-reused`; StoreError
 */
export async function createJob<Kind extends JobKind>(
  ctx: JobDeps,
  { id = crypto.randomUUID(), kind, dataset, table, request, progress = {} }: NewJob & { kind: Kind },
): Promise<JobOfKind<Kind>> {
  const { actor, requestId } = currentActor();
  const params: Params = {
    id,
    kind,
    dataset,
    table,
    request: toJsonb(request),
    actor,
    requestId,
    buffer: ctx.config.TIMESTORE_KEY_PREFIX,
    progress: toJsonb(progress),
  };
  const line = auditLine(
    {
      action: `job.${kind}`,
      dataset: dataset ?? undefined,
      table: table ?? undefined,
      detail: { job: id, ...request },
    },
    'changed',
    params,
  );
  await ctx.postgres.rows(
    `with changed as (
       insert into jobs (id, kind, dataset, "table", request, actor, request_id, buffer, progress)
       values ($id, $kind, $dataset, $table, $request::jsonb, $actor, $requestId, $buffer, $progress::jsonb)
       on conflict (id) do nothing returning id),
     line as (${line})
     select id from changed`,
    params,
  );
  const job = await readJob(ctx, id);
  if (
    !isOfKind([kind], job) ||
    JSON.stringify(sorted(job.request)) !== JSON.stringify(sorted(JSON.parse(JSON.stringify(request))))
  ) {
    throw new ApiError('key-reused', 'This Idempotency-Key was used for another job. Send a new key.');
  }
  await noteJob(ctx, ctx.now());
  return job;
}

/** Sorts members by name: the catalogue does not keep their order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, each]) => [name, sorted(each)]),
  );
}

/** Throws TimestoreError `not-found`; StoreError. */
export async function readJob(ctx: JobDeps, id: string): Promise<Job> {
  const [job] = checkRows(jobRow, await ctx.postgres.rows(`select ${jobColumns} from jobs where id = $id`, { id }));
  if (job === undefined) throw notFound({ kind: 'Job', id });
  return job;
}

export type JobFilter = {
  before?: number | undefined;
  dataset?: string | undefined;
  kind?: string | undefined;
  state?: string | undefined;
  /** Deliveries of this webhook. */
  webhook?: string | undefined;
  /** Only jobs of these datasets, in their current lives. */
  visibleDatasets?: string[] | undefined;
};

/** Newest first. */
export async function listJobs(
  ctx: JobDeps,
  { before, dataset, kind, state, webhook, visibleDatasets: of }: JobFilter,
  limit: number,
): Promise<Job[]> {
  return checkRows(
    jobRow,
    await ctx.postgres.rows(
      `select ${jobColumns} from jobs
      where ($before::bigint is null or n < $before) and ($dataset::text is null or dataset = $dataset) and ($kind::text is null or kind = $kind)
        and ($state::text is null or state = $state)
        and ($datasets::text[] is null or (dataset = any($datasets) and dataset_life = life_of_dataset(dataset)))
        and ($webhook::text is null or (kind = 'notify' and request->>'webhook' = $webhook))
      order by n desc limit $limit`,
      {
        before: before ?? null,
        dataset: dataset ?? null,
        kind: kind ?? null,
        state: state ?? null,
        datasets: of ?? null,
        webhook: webhook ?? null,
        limit,
      },
    ),
  );
}

/**
 * Continues a failed job from its recorded progress, and a mirror that waits after a failure or has stopped lanes. Throws
 * TimestoreError `not-found`, `conflict`; StoreError.
 */
export async function retryJob(ctx: JobDeps, id: string): Promise<Job> {
  const params: Params = { id };
  const [job] = checkRows(
    jobRow,
    await ctx.postgres.rows(
      `with changed as (
       update jobs set state = 'queued', attempts = 0, due_at = now(), claim = null, claimed_until = null, finished_at = null,
              progress = progress || case when kind = 'mirror' then '{"retry": true}' else '{}' end::jsonb
        where id = $id and (state = 'failed' or (kind = 'mirror' and state in ('queued', 'running') and error is not null))
       returning *),
     line as (${auditLine({ action: 'job.retry', detail: { job: id } }, 'changed', params)})
     select ${jobColumns} from changed`,
      params,
    ),
  );
  if (job === undefined) {
    const { state } = await readJob(ctx, id);
    throw new ApiError('conflict', `Job ${id} is ${state}; only failed jobs can be retried.`);
  }
  await noteJob(ctx, ctx.now());
  return job;
}
