import type { TableRef } from '../core/identifiers.ts';
import { ask, runScript } from '../stores/redis/client.ts';
import { dueMember, parseDueMember } from '../stores/redis/keys.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import deferLua from './lua/defer.lua';
import dueLua from './lua/due.lua';
import markDueLua from './lua/mark-due.lua';
import noteJobLua from './lua/note-job.lua';
import postponeMarkLua from './lua/postpone-mark.lua';
import settleMarkLua from './lua/settle-mark.lua';
import { differs, parseWaiting, type Waiting, type WaitingReply } from './publish.ts';

const dueScript = script(dueLua);
const deferScript = script(deferLua);
const markDueScript = script(markDueLua);
const noteJobScript = script(noteJobLua);
const postponeMarkScript = script(postponeMarkLua);
const settleMarkScript = script(settleMarkLua);

/** Due work: lanes with pending rows, the longest waiting first, and whether jobs are due. */
export type Due = { lanes: { table: TableRef; lane: number }[]; hasJobs: boolean };

/** The member of the due set for jobs, with the time of the next one. No lane has such a name. */
export const jobsMember = '#jobs';

/** @param which `due`: lanes and jobs due by now; `all`: also lanes that wait for a retry after a failed flush, without jobs */
export async function dueWork(ctx: BufferDeps, count: number, which: 'due' | 'all' = 'due'): Promise<Due> {
  const members = await runScript<string[]>(
    ctx.redis,
    dueScript,
    { due: ctx.keys.due },
    { lanes_max: count, isAll: which === 'all' ? '1' : '' },
  );
  const lanes = members.flatMap((member) => parseDueMember(member) ?? []);
  return { lanes, hasJobs: which === 'due' && members.includes(jobsMember) };
}

/** Members of a sorted set of marks whose time has come. */
export async function dueMarks(ctx: BufferDeps, due: string, count: number): Promise<string[]> {
  return await runScript<string[]>(ctx.redis, dueScript, { due }, { lanes_max: count, isAll: '' });
}

/** A mark for work in Postgres: a member of a sorted set, whose score is the time of the next look for such work. */
export type Mark = { due: string; dueMember: string };

/** Whether the time of the next look for jobs has come. */
export async function areJobsDue(ctx: BufferDeps): Promise<boolean> {
  const due_ms = await ask(() => ctx.redis.zscore(ctx.keys.due, jobsMember));
  return due_ms !== null && Number(due_ms) <= ctx.now();
}

/** The mark for jobs. */
export function jobsMark(ctx: BufferDeps): Mark {
  return { due: ctx.keys.due, dueMember: jobsMember };
}

/** Schedules a look for work, unless an earlier one is scheduled. */
export async function noteMark(ctx: BufferDeps, { due, dueMember }: Mark, due_ms: number): Promise<void> {
  await runScript(ctx.redis, noteJobScript, { due }, { dueMember, due_ms: Math.round(due_ms) });
}

/** Schedules a look for jobs. The hourly sweep makes up for a lost one. */
export async function noteJob(ctx: BufferDeps, due_ms: number): Promise<void> {
  await noteMark(ctx, jobsMark(ctx), due_ms);
}

/**
 * Begins a look for work, during which other instances need not look. If this one dies, another one looks at `until_ms`.
 * Work that is created from now on sets the mark again.
 *
 * @returns the time as the mark holds it, for `settleMark`
 */
export async function postponeMark(ctx: BufferDeps, { due, dueMember }: Mark, until_ms: number): Promise<number> {
  const rounded_ms = Math.round(until_ms);
  await runScript(ctx.redis, postponeMarkScript, { due }, { dueMember, until_ms: rounded_ms });
  return rounded_ms;
}

/** Ends a look for work. @param next_ms when the next work is due; undefined if none is left */
export async function settleMark(
  ctx: BufferDeps,
  { due, dueMember }: Mark,
  postponed_ms: number,
  next_ms: number | undefined,
): Promise<void> {
  const next = next_ms === undefined ? '' : Math.round(next_ms);
  await runScript(ctx.redis, settleMarkScript, { due }, { dueMember, postponed_ms, next_ms: next });
}

/** Defers the next flush of a lane, longer after each consecutive failure. */
export async function deferLane(ctx: BufferDeps, table: TableRef, lane: number): Promise<void> {
  const { retry_ms, retry_ms_max } = ctx.config.limits;
  const keys = { state: ctx.keys.state(table, lane), due: ctx.keys.due };
  await runScript(ctx.redis, deferScript, keys, {
    dueMember: dueMember(table, lane),
    retry_ms,
    retry_ms_max,
    failure: crypto.randomUUID().slice(0, 8),
  });
}

type Lane = { table: TableRef; lane: number };

/**
 * Adds lanes with pending rows to the due set, and compares the log of each lane with its state.
 *
 * @returns the number of added lanes, and the lanes whose log does not match their state
 */
export async function markDue(
  ctx: BufferDeps,
  lanes: Lane[],
): Promise<{ added: number; differing: (Lane & { waiting: Waiting })[] }> {
  const [added, ...replies] = await runScript<[number, ...(WaitingReply | [])[]]>(
    ctx.redis,
    markDueScript,
    {
      due: ctx.keys.due,
      lanes: lanes.flatMap(({ table, lane }) => [ctx.keys.state(table, lane), ctx.keys.log(table, lane)]),
    },
    { dueMembers: lanes.map(({ table, lane }) => dueMember(table, lane)) },
  );
  const differing = lanes.flatMap((each, i) => {
    const reply = replies[i] ?? [];
    if (reply.length === 0) return [];
    const waiting = parseWaiting(reply);
    return differs(waiting) ? [{ ...each, waiting }] : [];
  });
  return { added, differing };
}
