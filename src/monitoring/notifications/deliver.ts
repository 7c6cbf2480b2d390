import * as z from 'zod';
import { defineJob, type JobOf, type OutcomeOf, type Step } from '../../jobs/definition.ts';
import { addressProblem } from '../../operations/webhooks/address.ts';
import type { Statement } from '../../stores/postgres/client.ts';
import type { MonitoringDeps } from '../deps.ts';
import { channelBroke, channelWorks } from './broken-channel.ts';
import { type MessageRequest, messageRequest, orderKeyOf } from './message-job.ts';
import { type Attempt, attempt, post } from './post.ts';
import { readTarget, type Target } from './target.ts';

const progressSchema = z.object({
  /** Bodies that need no further try. */
  sent: z.number().default(0),
  /** Bodies that the receiver refused. */
  refused: z.number().default(0),
  /** Failed tries of the current body. */
  tries: z.number().default(0),
  /** All tries so far, those left out of `attempts` included. */
  total: z.number().default(0),
  attempts: z.array(attempt).default([]),
});

export type DeliveryProgress = z.output<typeof progressSchema>;

export const alertJob = defineJob({
  kinds: ['alert'],
  request: messageRequest,
  progress: progressSchema,
  result: z.object({
    /** `uncertain`: the answer was lost, and the channel is not to get a message twice. */
    delivered: z.union([z.literal(true), z.literal('uncertain')]),
    status: z.number().nullable(),
    attempts: z.array(attempt),
    total: z.number(),
  }),
});

const seconds = 1_000;
const minutes = 60 * seconds;
/** Waits after failed tries. The last one repeats. */
const waits_ms = [5 * seconds, 15 * seconds, 30 * seconds, minutes, 2 * minutes, 5 * minutes];
/** After an hour the waits are longer, after a day the message is given up. */
const slow = { after_ms: 60 * minutes, wait_ms: 15 * minutes };
const age_ms_max = 24 * 60 * minutes;
/** A step with many bodies makes room for other channels. */
const step_ms_max = 10_000;
/** Slack accepts one message a second. */
const slackPause_ms = 1_000;

/**
 * Delivers a message to its channel: every try sends the same bytes under the same id, until an answer is 2xx, the receiver
 * refuses the message, or a day is over.
 */
export const deliverStep: Step<typeof alertJob, MonitoringDeps> = async (ctx, job, deadline_ms) => {
  const { request, progress } = job;
  const target = await readTarget(ctx, job.dataset, request.channel);
  const problem = problemOf(ctx, target, request);
  if (problem !== undefined || target === undefined || 'missing' in target) {
    return { failed: `The message was not sent: ${problem}.`, progress };
  }
  const from_ms = ctx.now();
  const latest = () => progress.attempts.at(-1);
  while (progress.sent < request.bodies.length) {
    const part = progress.sent;
    const body = request.bodies[part] ?? '';
    // Each request of a message has an id of its own, the same in each try.
    const id = request.bodies.length === 1 ? job.id : `${job.id}-${part}`;
    const { attempt: tried, retryAfter_ms } = await post(ctx, target, id, body);
    record(progress, tried);
    const verdict = verdictOf(tried, target);
    if (verdict === 'taken') {
      progress.sent += 1;
      progress.tries = 0;
    } else if (verdict === 'refused' && request.bodies.length > 1) {
      progress.sent += 1;
      progress.refused += 1;
    } else return await afterFailure(ctx, job, target, { request, progress, verdict, retryAfter_ms });
    const isOver = ctx.now() >= deadline_ms || ctx.now() - from_ms >= step_ms_max;
    if (isOver && progress.sent < request.bodies.length) return { progress };
  }
  if (progress.refused > 0) {
    const alongside = await broke(ctx, job, target, request, `status ${latest()?.status}`);
    return {
      failed: `The receiver refused ${progress.refused} of ${request.bodies.length} parts.`,
      progress,
      alongside,
    };
  }
  const alongside = [...pauseStatements(ctx, job, target), ...(await works(ctx, job, target, request))];
  return { done: { delivered: true, status: latest()?.status ?? null, ...logOf(progress) }, alongside };
};

/** Why a message cannot be sent to a channel as it is now. */
function problemOf(
  ctx: MonitoringDeps,
  target: Awaited<ReturnType<typeof readTarget>>,
  { format }: MessageRequest,
): string | undefined {
  if (target === undefined) return 'the channel was deleted';
  if ('missing' in target) return `the secret ${target.missing} does not exist`;
  if (!target.definition.enabled) return 'the channel is switched off';
  if (target.definition.kind !== format) return 'the channel is of another kind now';
  return addressProblem(target.url, ctx.config);
}

type Verdict = 'taken' | 'later' | 'denied' | 'refused' | 'gone';

/** What an answer means for the message and for the channel. */
function verdictOf({ status }: Attempt, { definition: { kind } }: Target): Verdict {
  if (status === null || status >= 500 || [408, 425, 429].includes(status)) return 'later';
  if (status >= 200 && status < 300) return 'taken';
  if (status === 404 || status === 410 || (kind === 'slack' && status === 403)) return 'gone';
  // A wrong key or address can be corrected while the message waits.
  if (status === 401 || status === 403 || status < 400) return 'denied';
  return 'refused';
}

type Failure = {
  request: MessageRequest;
  progress: DeliveryProgress;
  verdict: Exclude<Verdict, 'taken'>;
  retryAfter_ms: number | undefined;
};

async function afterFailure(
  ctx: MonitoringDeps,
  job: JobOf<typeof alertJob>,
  target: Target,
  { request, progress, verdict, retryAfter_ms }: Failure,
): Promise<OutcomeOf<typeof alertJob>> {
  const { status, error, uncertain } = progress.attempts.at(-1) ?? {};
  const why = error ?? `status ${status}`;
  if (uncertain && target.definition.onUncertain === 'drop') {
    return { done: { delivered: 'uncertain', status: status ?? null, ...logOf(progress) } };
  }
  const age_ms = ctx.now() - job.createdAt_ms;
  const isFinal = verdict === 'gone' || verdict === 'refused' || request.isTest || age_ms >= age_ms_max;
  const alongside = verdict === 'later' && !isFinal ? [] : await broke(ctx, job, target, request, why);
  if (isFinal) return { failed: `The channel did not accept the message: ${why}.`, progress, alongside };
  const regular_ms = waits_ms[progress.tries] ?? (age_ms > slow.after_ms ? slow.wait_ms : waits_ms.at(-1));
  progress.tries += 1;
  return {
    progress,
    wait_ms: Math.max(regular_ms ?? 0, retryAfter_ms ?? 0),
    error: `Not delivered yet: ${why}.`,
    alongside,
  };
}

/** The first tries of a message and its latest ones. */
const attempts_max = 40;
const attemptsFirst = 10;

function record(progress: DeliveryProgress, latest: Attempt): void {
  progress.total += 1;
  progress.attempts.push(latest);
  if (progress.attempts.length > attempts_max) progress.attempts.splice(attemptsFirst, 1);
}

function logOf({ attempts, total }: DeliveryProgress) {
  return { attempts, total };
}

/** The next message of the channel waits as long as the receiver's rate requires. */
function pauseStatements(ctx: MonitoringDeps, job: JobOf<typeof alertJob>, { definition }: Target): Statement[] {
  if (definition.kind !== 'slack') return [];
  return [
    [
      `update jobs set due_at = greatest(due_at, now() + $pause_ms * interval '1 millisecond')
        where buffer = $buffer and order_key = $orderKey and state = 'queued' and id <> $id`,
      {
        pause_ms: slackPause_ms,
        buffer: ctx.config.TIMESTORE_KEY_PREFIX,
        orderKey: orderKeyOf(job.dataset, job.request.channel),
        id: job.id,
      },
    ],
  ];
}

async function broke(
  ctx: MonitoringDeps,
  { dataset }: JobOf<typeof alertJob>,
  target: Target,
  { channel, isTest }: MessageRequest,
  why: string,
): Promise<Statement[]> {
  return isTest || target.isBroken ? [] : await channelBroke(ctx, dataset, channel, target.episode + 1, why);
}

async function works(
  ctx: MonitoringDeps,
  { dataset }: JobOf<typeof alertJob>,
  target: Target,
  { channel }: MessageRequest,
): Promise<Statement[]> {
  return target.isBroken ? await channelWorks(ctx, dataset, channel, target.episode) : [];
}
