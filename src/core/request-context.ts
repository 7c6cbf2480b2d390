import { AsyncLocalStorage } from 'node:async_hooks';
import type { Trace } from './trace.ts';

/** On whose behalf something is done, for the audit log and traces. */
export type Actor = {
  /** Id of a key, `admin` for the deployment's own, `cron`, or `unknown` before the key was looked at. */
  actor: string;
  requestId: string;
  /** What it is a part of; undefined where nobody asked for one. */
  trace?: Trace;
};

const current = new AsyncLocalStorage<Actor>();

const nobody: Actor = { actor: 'cron', requestId: '' };

/** Who asks for what is being done; the clock where nobody does. */
export function currentActor(): Actor {
  return current.getStore() ?? nobody;
}

/** Does something on somebody's behalf. What `who` becomes meanwhile is what later calls see. */
export function runAs<Result>(who: Actor, work: () => Result): Result {
  return current.run(who, work);
}
