import { ErrorReply } from 'redis';
import { type Command, commandName } from './commands.ts';
import type { Connection, Connections } from './connections.ts';
import type { Reply } from './reply.ts';

/** Commands that block their connection. They also wait only for the writes of their own connection. */
const blockingCommands = new Set(['WAIT', 'WAITAOF']);

/** The replies in the order of the commands. The reply of a rejected command is an ErrorReply. */
export function runPipeline(connections: Connections, commands: Command[]): Promise<Reply[]> {
  const run = (connection: Connection) => settle(commands.map((command) => connection.send(command)));
  return commands.some((command) => blockingCommands.has(commandName(command)))
    ? connections.withOwn(run)
    : run(connections.shared);
}

/** The replies of a transaction. Throws the ErrorReply when Redis discarded it as a whole. */
export async function runTransaction(connections: Connections, commands: Command[]): Promise<Reply[]> {
  const { shared } = connections;
  // All are sent in one turn of the event loop, so no command of another request comes between MULTI and EXEC.
  const sent = [['MULTI'], ...commands, ['EXEC']].map((command) => shared.send(command));
  const replies = await settle(sent);
  const rejected = replies.slice(0, -1).find((reply) => reply instanceof ErrorReply);
  if (rejected) throw rejected;
  const outcome = replies.at(-1);
  if (outcome instanceof ErrorReply) throw outcome;
  return outcome as Reply[];
}

/** Waits for all, so that no rejection stays unhandled, then throws the first error that is not an answer of Redis. */
async function settle(sent: Promise<Reply>[]): Promise<Reply[]> {
  const outcomes = await Promise.allSettled(sent);
  return outcomes.map((outcome) => {
    if (outcome.status === 'fulfilled') return outcome.value;
    if (outcome.reason instanceof ErrorReply) return outcome.reason;
    throw outcome.reason;
  });
}
