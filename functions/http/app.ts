import { ConfigError } from '../../src/core/config.ts';
import { ApiError } from '../../src/core/errors.ts';
import { type Context as AppContext, createContext } from '../../src/create-context.ts';
import type { LaneMessage } from '../../src/flush/enqueue-due-lanes.ts';
import type { MonitorMessage } from '../../src/monitoring/cron.ts';
import type { Caller } from './auth.ts';

/** Bindings of the Worker: the variables of src/core/config.ts, static files, queues of due lanes and of checks, a rate limiter. */
export type Bindings = {
  ASSETS?: Fetcher;
  FLUSH_QUEUE?: Queue<LaneMessage>;
  /** Without it, one invocation makes the checks of a minute. */
  MONITOR_QUEUE?: Queue<MonitorMessage>;
  /** Counts the requests of each key; without it, requests have no rate limit. */
  RATE_LIMITER?: RateLimit;
} & Record<string, unknown>;

export type App = {
  Bindings: Bindings;
  Variables: {
    requestId: string;
    ctx: AppContext;
    /** The caller, after authentication. */
    key: Caller;
    /** Members that a route adds to the log event of the request. */
    event: Record<string, unknown>;
  };
};

const contexts = new WeakMap<Bindings, AppContext>();

/** The store clients and caches that an instance keeps between requests. Throws ApiError `misconfigured`, with every problem. */
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
