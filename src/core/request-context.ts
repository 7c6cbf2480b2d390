import { AsyncLocalStorage } from 'node:async_hooks';
import type { Trace } from './trace.ts';

/** The caller of the current work, for the audit log and traces. */
export type Actor = {
  /** Id of an API key, `admin` for the admin key, `cron`, or `unknown` before authentication. */
  actor: string;
  requestId: string;
  /** Undefined outside of a traced request. */
  trace?: Trace;
};

const current = new AsyncLocalStorage<Actor>();

const cron: Actor = { actor: 'cron', requestId: '' };

/** The caller of the current work; `cron` outside of a request. */
export function currentActor(): Actor {
  return current.getStore() ?? cron;
}

/** Runs work for a caller. The work sees later changes of `actor`, such as the key id that authentication sets. */
export function runAs<Result>(actor: Actor, work: () => Result): Result {
  return current.run(actor, work);
}
