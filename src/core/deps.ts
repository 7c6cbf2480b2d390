import type { Config } from './config.ts';
import type { InstanceMemory } from './instance-memory.ts';
import type { Log } from './log.ts';

/** Dependencies of every layer. Each layer above names those that it adds in a `deps.ts` of its own. */
export type CoreDeps = {
  config: Config;
  /** Caches of this instance, see `inEachInstance`. */
  memory: InstanceMemory;
  log: Log;
  /** Milliseconds since 1970 by this machine's clock, for ages in caches; everything that matters uses the stores' clocks. */
  now(): number;
};
