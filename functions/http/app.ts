import { ConfigError } from '../../src/core/config.ts';
import { ApiError } from '../../src/core/errors.ts';
import { type Context as AppContext, createContext } from '../../src/create-context.ts';
import type { LaneMessage } from '../../src/flush/enqueue-due-lanes.ts';
import type { Caller } from './auth.ts';

/** The Worker's bindings: the variables of src/core/config.ts, the files of the browsable page, a queue of due lanes, a rate limiter. */
export type Bindings = {
  ASSETS?: Fetcher;
  FLUSH_QUEUE?: Queue<LaneMessage>;
  /** Counts the requests of each key; without it they have no limit. */
  RATE_LIMITER?: RateLimit;
} & Record<string, unknown>;

export type App = {
  Bindings: Bindings;
  Variables: {
    requestId: string;
    ctx: AppContext;
    /** Who asks, once the key has been looked at. */
    key: Caller;
    /** Members that a route adds to the request's one event in the log. */
    event: Record<string, unknown>;
  };
};

const contexts = new WeakMap<Bindings, AppContext>();

/** What an instance keeps between requests: clients and caches. Throws TimestoreError `misconfigured`, naming everything wrong. */
export function contextFor(env: Bindings): AppContext {
  let context = contexts.get(env);
  if (context === undefined) {
    try {
      context = createContext(env);
    } catch (error) {
      if (error instanceof ConfigError) throw new ApiError('misconfigured', error.message);
      throw error;
    }
    contexts.set(env, context);
  }
  return context;
}
