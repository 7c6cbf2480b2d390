import type { TableRef } from '../core/identifiers.ts';
import { runScript } from '../stores/redis/client.ts';
import { dueMember, parseDueMember } from '../stores/redis/keys.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import deferLua from './lua/defer.lua';
import dueLua from './lua/due.lua';
import markDueLua from './lua/mark-due.lua';
import noteJobLua from './lua/note-job.lua';
import { differs, parseWaiting, type Waiting, type WaitingReply } from './publish.ts';

const dueScript = script(dueLua);
const deferScript = script(deferLua);
const markDueScript = script(markDueLua);
const noteJobScript = script(noteJobLua);

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

/** Schedules a look for jobs. The hourly sweep makes up for a lost one. */
export async function noteJob(ctx: BufferDeps, due_ms: number): Promise<void> {
  await runScript(
    ctx.redis,
    noteJobScript,
    { due: ctx.keys.due },
    { dueMember: jobsMember, due_ms: Math.round(due_ms) },
  );
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
