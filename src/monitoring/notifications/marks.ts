import { dueMarks, type Mark, noteMark, postponeMark, settleMark } from '../../buffer/due.ts';
import { ask } from '../../stores/redis/client.ts';
import type { MonitoringDeps } from '../deps.ts';

/**
 * Marks in Redis for notices that wait in Postgres, so that a look for them costs no statement where nothing is due. The
 * member `groups` has the time of the next due group. Each commit of notices that is under way has a member of its own, so
 * that its notices are found also if the instance dies right after the commit.
 */
const groupsMember = 'groups';

/** A commit is over by then: its deadline by the clock of Postgres is earlier. */
const commit_ms_max = 60_000;
/** A look that takes longer has died. */
const look_ms_max = 60_000;
const commits_max = 1_000;

function markOf(ctx: MonitoringDeps, dueMember: string): Mark {
  return { due: ctx.keys.noticesDue, dueMember };
}

/** An announced commit of notices. */
export type Announcement = {
  /** After the commit. @param wait_ms time until the first group is due, of `noticeStatements` */
  committed(wait_ms: number): Promise<void>;
  /** For a commit that the runner of a job makes: schedules a look, and keeps the announcement. */
  soon(wait_ms: number): Promise<void>;
};

/** Call this before a transaction with the statements of `noticeStatements`, and `committed` after it. Throws StoreError. */
export async function announceNotices(ctx: MonitoringDeps): Promise<Announcement> {
  const own = markOf(ctx, `commit/${crypto.randomUUID()}`);
  await noteMark(ctx, own, ctx.now() + commit_ms_max);
  return {
    async committed(wait_ms) {
      await noteGroups(ctx, ctx.now() + wait_ms);
      await ask(() => ctx.redis.zrem(own.due, own.dueMember));
    },
    async soon(wait_ms) {
      await noteGroups(ctx, ctx.now() + wait_ms);
    },
  };
}

/** Schedules a look for due groups. */
export async function noteGroups(ctx: MonitoringDeps, due_ms: number): Promise<void> {
  await noteMark(ctx, markOf(ctx, groupsMember), due_ms);
}

/** Begins a look for due groups; undefined where none can be due. Costs one command then. */
export async function beginLook(
  ctx: MonitoringDeps,
): Promise<{ settle(next_ms: number | undefined): Promise<void> } | undefined> {
  const members = await dueMarks(ctx, ctx.keys.noticesDue, commits_max);
  if (members.length === 0) return undefined;
  const mark = markOf(ctx, groupsMember);
  const postponed_ms = await postponeMark(ctx, mark, ctx.now() + look_ms_max);
  return {
    async settle(next_ms) {
      await settleMark(ctx, mark, postponed_ms, next_ms);
      const commits = members.filter((member) => member !== groupsMember);
      if (commits.length > 0) await ask(() => ctx.redis.zrem(mark.due, ...commits));
    },
  };
}
