import { Hono } from 'hono';
import { ConfigError } from '../src/config.ts';
import { createContext, type Context as Timestore } from '../src/context.ts';
import { TimestoreError } from '../src/errors.ts';
import type { LaneMessage } from '../src/flush/hand-on.ts';
import type { Caller } from './auth.ts';

/** The Worker's bindings: the variables of src/config.ts, the files of the browsable page, a queue of due lanes, a rate limiter. */
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
    timestore: Timestore;
    /** Who asks, once the key has been looked at. */
    key: Caller;
    /** Members that a route adds to the request's one event in the log. */
    event: Record<string, unknown>;
  };
};

export const routes = () => new Hono<App>();

const contexts = new WeakMap<Bindings, Timestore>();

/** What an instance keeps between requests: clients and caches. Throws TimestoreError `misconfigured`, naming everything wrong. */
export function contextFor(env: Bindings): Timestore {
  let context = contexts.get(env);
  if (context === undefined) {
    try {
      context = createContext(env);
    } catch (error) {
      if (error instanceof ConfigError) throw new TimestoreError('misconfigured', error.message);
      throw error;
    }
    contexts.set(env, context);
  }
  return context;
}
