import type { Config } from './config.ts';
import type { InstanceMemory } from './instance-memory.ts';
import type { Log } from './log.ts';

/** Dependencies of every layer. Each higher layer adds its own in its `deps.ts`. */
export type CoreDeps = {
  config: Config;
  /** Caches of this instance, see `inEachInstance`. */
  memory: InstanceMemory;
  log: Log;
  /** Milliseconds since 1970 by this machine's clock, for cache ages only. Stored times come from the clocks of the stores. */
  now(): number;
};
