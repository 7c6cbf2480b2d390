import type { Context } from '../context.ts';
import type { TableRef } from '../names.ts';
import { parseDueMember } from './keys.ts';
import { ask } from './redis.ts';

/** The lanes with pending rows, the one that waits longest first. At most `count`. */
export async function dueLanes(ctx: Context, count: number): Promise<{ table: TableRef; lane: number }[]> {
  const members = await ask(() => ctx.redis.zrange<string[]>(ctx.keys.due, 0, count - 1));
  return members.flatMap((member) => parseDueMember(member) ?? []);
}
