import type * as z from 'zod';
import { assert } from '../core/assert.ts';
import type { Statement } from '../stores/postgres/client.ts';
import type { JobDeps } from './deps.ts';
import { isOfKind, type Job, type JobKind, type JobOfKind } from './job.ts';

type Json = Record<string, unknown>;

/** The records that jobs of these kinds keep. `Stored` is the form in which a step leaves its progress. */
export type JobDefinition<Kind extends JobKind, Request, Progress, Stored, Result> = {
  kinds: readonly Kind[];
  /** The parameters of the job. */
  request: z.ZodType<Request>;
  /** State that earlier steps leave for later ones. */
  progress: z.ZodType<Progress, Stored>;
  /** The receipt. */
  result: z.ZodType<Result, Result>;
};

export function defineJob<const Kind extends JobKind, Request, Progress, Stored extends Json, Result extends Json>(
  definition: JobDefinition<Kind, Request, Progress, Stored, Result>,
): JobDefinition<Kind, Request, Progress, Stored, Result> {
  return definition;
}

type Checked<Kind extends JobKind, Request, Progress, Result> = Omit<
  JobOfKind<Kind>,
  'request' | 'progress' | 'result'
> & { request: Request; progress: Progress; result: Result | null };

/** A job with the records of its definition. */
export type JobOf<Definition> =
  Definition extends JobDefinition<infer Kind, infer Request, infer Progress, infer _Stored, infer Result>
    ? Checked<Kind, Request, Progress, Result>
    : never;

/** Checks the records of a job. Throws Error for a job of another kind, ZodError for a record of another form. */
export function checkJob<Kind extends JobKind, Request, Progress, Stored, Result>(
  definition: JobDefinition<Kind, Request, Progress, Stored, Result>,
  job: Job,
): Checked<Kind, Request, Progress, Result> {
  assert(isOfKind(definition.kinds, job), `job ${job.id} of kind ${job.kind} is one of ${definition.kinds.join()}`);
  const { request, progress, result, ...rest } = job;
  return {
    ...rest,
    request: definition.request.parse(request),
    progress: definition.progress.parse(progress),
    result: result === null ? null : definition.result.parse(result),
  };
}

/** The outcome of a step. */
export type Outcome<Stored = Json, Result = Json> = {
  /** Statements for the transaction that records the outcome. */
  alongside?: Statement[];
} & (
  | { done: Result }
  /** The job goes on. `error` is shown with the job until the next step. */
  | { progress: Stored; wait_ms?: number; error?: string }
  /** The job stops with this reason. A retry continues from its progress. */
  | { failed: string; progress: Stored }
);

/** The outcome of a step of a job of this definition. */
export type OutcomeOf<Definition> =
  Definition extends JobDefinition<infer _Kind, infer _Request, infer _Progress, infer Stored, infer Result>
    ? Outcome<Stored, Result>
    : never;

/**
 * A step of a job. It may be killed at any point, run twice, or run twice at the same time. So its effects outside of the
 * catalogue must be repeatable, and its changes of the catalogue belong in `alongside`.
 */
export type Step<Definition, Deps extends JobDeps> = (
  ctx: Deps,
  job: JobOf<Definition>,
  deadline_ms: number,
) => Promise<OutcomeOf<Definition>>;

/** Runs a step of a recorded job. */
export type JobHandler<Deps extends JobDeps> = (ctx: Deps, job: Job, deadline_ms: number) => Promise<Outcome>;

/** One handler for each kind of job. */
export type JobHandlers<Deps extends JobDeps> = Record<JobKind, JobHandler<Deps>>;

/** The handler that checks a job by its definition and runs its step. */
export function handleJob<
  Deps extends JobDeps,
  Kind extends JobKind,
  Request,
  Progress,
  Stored extends Json,
  Result extends Json,
>(
  definition: JobDefinition<Kind, Request, Progress, Stored, Result>,
  step: (
    ctx: Deps,
    job: Checked<Kind, Request, Progress, Result>,
    deadline_ms: number,
  ) => Promise<Outcome<Stored, Result>>,
): JobHandler<Deps> {
  return (ctx, job, deadline_ms) => step(ctx, checkJob(definition, job), deadline_ms);
}
