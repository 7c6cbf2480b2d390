import { ErrorReply } from 'redis';
import { type Command, nameOf } from './commands.ts';
import type { Connection, Connections } from './connections.ts';
import type { Reply } from './reply.ts';

/** Commands that hold their connection while they wait; WAIT also means "what this connection wrote". */
const waiting = new Set(['WAIT', 'WAITAOF']);

/** The replies in the order of the commands; a refused command is an ErrorReply in its place. */
export function runPipeline(connections: Connections, commands: Command[]): Promise<Reply[]> {
  const run = (connection: Connection) => settle(commands.map((command) => connection.send(command)));
  return commands.some((command) => waiting.has(nameOf(command))) ? connections.withOwn(run) : run(connections.shared);
}

/** The replies of a transaction. Throws the ErrorReply when Redis discarded it as a whole. */
export async function runTransaction(connections: Connections, commands: Command[]): Promise<Reply[]> {
  const { shared } = connections;
  // All sent in this turn of the event loop: no other request's command comes between MULTI and EXEC.
  const sent = [['MULTI'], ...commands, ['EXEC']].map((command) => shared.send(command));
  const replies = await settle(sent);
  const refused = replies.slice(0, -1).find((reply) => reply instanceof ErrorReply);
  if (refused) throw refused;
  const outcome = replies.at(-1);
  if (outcome instanceof ErrorReply) throw outcome;
  return outcome as Reply[];
}

/** Waits for all, so that no rejection is left unheard, then throws what is not an answer of Redis. */
async function settle(sent: Promise<Reply>[]): Promise<Reply[]> {
  const outcomes = await Promise.allSettled(sent);
  return outcomes.map((outcome) => {
    if (outcome.status === 'fulfilled') return outcome.value;
    if (outcome.reason instanceof ErrorReply) return outcome.reason;
    throw outcome.reason;
  });
}
