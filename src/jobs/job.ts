import * as z from 'zod';
import { noteJob } from '../buffer/due.ts';
import { auditLine } from '../catalog/audit-log/statement.ts';
import { ApiError } from '../core/errors.ts';
import { currentActor } from '../core/request-context.ts';
import { checkRows } from '../stores/check-rows.ts';
import { epochMs, type Params } from '../stores/postgres/client.ts';
import { fromJsonb, toJsonb } from '../stores/postgres/jsonb.ts';
import type { JobDeps } from './deps.ts';

/** Kinds of jobs by what each is of: a table, a dataset, or neither alone. */
const ofTable = ['delete-rows', 'correct-rows', 'drop-table', 'export', 'import', 'compare', 'mirror'] as const;
const ofDataset = ['drop-dataset', 'apply-retention'] as const;
const others = ['backup', 'restore', 'notify'] as const;

export const jobKinds = [...ofTable, ...ofDataset, ...others] as const;
export type JobKind = (typeof jobKinds)[number];

export const jobStates = ['queued', 'running', 'done', 'failed', 'cancelled'] as const;

export const jobRow = z.object({
  n: z.string(),
  id: z.string(),
  kind: z.string(),
  dataset: z.string().nullable(),
  table: z.string().nullable(),
  state: z.enum(jobStates),
  request: z.record(z.string(), z.unknown()),
  progress: z.record(z.string(), z.unknown()),
  result: z.record(z.string(), z.unknown()).nullable(),
  error: z.string().nullable(),
  attempts: z.number(),
  actor: z.string(),
  createdAt_ms: z.number(),
  finishedAt_ms: z.number().nullable(),
  datasetLife: z.number().nullable(),
  life: z.number().nullable(),
  isOfThisLife: z.boolean(),
});
export type JobState = (typeof jobStates)[number];

type Target<Kind> = Kind extends (typeof ofTable)[number]
  ? { kind: Kind; dataset: string; table: string }
  : Kind extends (typeof ofDataset)[number]
    ? { kind: Kind; dataset: string; table: null }
    : { kind: Kind; dataset: string | null; table: null };

type Recorded = {
  n: string;
  id: string;
  state: JobState;
  /** What was asked for. */
  request: Record<string, unknown>;
  /** What later steps need of earlier ones. */
  progress: Record<string, unknown>;
  /** The receipt. */
  result: Record<string, unknown> | null;
  error: string | null;
  attempts: number;
  actor: string;
  createdAt_ms: number;
  finishedAt_ms: number | null;
  /** Of its dataset, and of its table, when it was made. Null for none, and for jobs of earlier versions. */
  datasetLife: number | null;
  life: number | null;
  /** Whether its dataset is in that life. */
  isOfThisLife: boolean;
};

/** Work in steps, as it is on record, of one kind or of some. */
export type JobOf<Kind extends JobKind> = Kind extends JobKind ? Recorded & Target<Kind> : never;

export type Job = JobOf<JobKind>;

export const jobColumns = `n, id, kind, dataset, "table", state, request, progress, result, error, attempts, actor,
  ${epochMs('created_at')} as "createdAt_ms", ${epochMs('finished_at')} as "finishedAt_ms",
  dataset_life as "datasetLife", life, coalesce(dataset_life = life_of_dataset(dataset), true) as "isOfThisLife"`;

/** A line of those columns. Its requests and receipts hold text of users. */
export type JobLine = Recorded & { kind: string; dataset: string | null; table: string | null };

/** A job as it came out of those columns; what else the line has stays. Throws RangeError for one without what it is of. */
export function jobIn<Line extends JobLine>(line: Line): Line & Job {
  const { id, kind, dataset, table, request, progress, result } = line;
  const isWhole = isIn(ofTable, kind)
    ? dataset !== null && table !== null
    : table === null && (isIn(others, kind) || (isIn(ofDataset, kind) && dataset !== null));
  if (!isWhole) throw new RangeError(`job ${id} of kind ${kind} does not say what it is of`);
  const read = { request: fromJsonb(request), progress: fromJsonb(progress), result: fromJsonb(result) };
  return { ...line, ...read } as Line & Job;
}

function isIn(kinds: readonly string[], kind: string): boolean {
  return kinds.includes(kind);
}

export type NewJob<Kind extends JobKind> = Target<Kind> & {
  request: Record<string, unknown>;
  /** The same id is the same job. */
  id?: string | undefined;
  /** What its first step needs to know of the moment at which it is made. */
  progress?: Record<string, unknown>;
};

/**
 * Puts a job on record; one that is there under its id stays as it is, if it asks for the same.
 *
 * @throws TimestoreError `key-reused`; StoreError
 */
export async function createJob<Kind extends JobKind>(
  ctx: JobDeps,
  { id = crypto.randomUUID(), kind, dataset, table, request, progress = {} }: NewJob<Kind>,
): Promise<JobOf<Kind>> {
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
    job.kind !== kind ||
    JSON.stringify(sorted(job.request)) !== JSON.stringify(sorted(JSON.parse(JSON.stringify(request))))
  ) {
    throw new ApiError('key-reused', 'This Idempotency-Key was used for another job. Send a new key.');
  }
  await noteJob(ctx, ctx.now());
  return job as JobOf<Kind>;
}

/** Objects keep no order of their members in the catalogue. */
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
  if (job === undefined) throw new ApiError('not-found', `There is no job ${id}.`);
  return jobIn(job);
}

export type JobFilter = {
  before?: number | undefined;
  dataset?: string | undefined;
  kind?: string | undefined;
  state?: string | undefined;
  /** Deliveries of this webhook. */
  webhook?: string | undefined;
  /** Of these datasets alone, and of the lives that they are in. */
  of?: string[] | undefined;
};

/** The newest first. */
export async function listJobs(
  ctx: JobDeps,
  { before, dataset, kind, state, webhook, of }: JobFilter,
  limit: number,
): Promise<Job[]> {
  const jobs = checkRows(
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
  return jobs.map(jobIn);
}

/**
 * Has a job that failed go on where it stopped, and a mirror that waits or has stopped in a part of it. Throws TimestoreError
 * `not-found`, `conflict`; StoreError.
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
    throw new ApiError('conflict', `Job ${id} is ${state}; only one that failed can be tried again.`);
  }
  await noteJob(ctx, ctx.now());
  return jobIn(job);
}
