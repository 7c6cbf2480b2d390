import type { TableRef } from '../core/identifiers.ts';
import { runScript } from '../stores/redis/client.ts';
import { dueMember, parseDueMember } from '../stores/redis/keys.ts';
import { script } from '../stores/redis/script.ts';
import type { BufferDeps } from './deps.ts';
import deferLua from './lua/defer.lua';
import dueLua from './lua/due.lua';
import markDueLua from './lua/mark-due.lua';
import noteJobLua from './lua/note-job.lua';
import { differs, type Waiting, type WaitingReply, waitingOf } from './publish.ts';

const dueScript = script(dueLua);
const deferScript = script(deferLua);
const markDueScript = script(markDueLua);
const noteJobScript = script(noteJobLua);

/** What is due: lanes with pending rows, the one that waits longest first, and whether there are jobs. */
export type Due = { lanes: { table: TableRef; lane: number }[]; hasJobs: boolean };

/** The due set's member that says that there are jobs, and when the next of them is due. No lane looks like it. */
export const jobsMember = '#jobs';

/** @param which what is due by now, or also lanes that wait for their next try after a failed flush */
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

/** Has the clock look for jobs at a time. If this is lost, the hourly sweep does. */
export async function noteJob(ctx: BufferDeps, due_ms: number): Promise<void> {
  await runScript(
    ctx.redis,
    noteJobScript,
    { due: ctx.keys.due },
    { dueMember: jobsMember, due_ms: Math.round(due_ms) },
  );
}

/** Puts the next try of a lane off, longer after each failure in a row. Failing that, its lease does for a while. */
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
 * Makes sure that lanes with pending rows are in the due set, and compares each lane's log with its state.
 *
 * @returns how many were not in the set, and the lanes whose log is not the one of their state
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
    const waiting = waitingOf(reply);
    return differs(waiting) ? [{ ...each, waiting }] : [];
  });
  return { added, differing };
}
