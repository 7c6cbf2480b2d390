import type { Config } from './config.ts';

/** Caches of an instance, by owner. Copies of a context share them. */
export type InstanceMemory = Map<object, unknown>;

type Holder = { config: Config; memory: InstanceMemory };

/**
 * Declares a cache of each instance. It is created at its first use, and only its owner can reach it.
 *
 * @param make creates the empty cache with its configured bounds
 * @returns a function that returns the cache of an instance; its `key` is the key in `InstanceMemory`
 */
export function inEachInstance<Part>(make: (config: Config) => Part): ((ctx: Holder) => Part) & { key: object } {
  const getPart = ({ memory, config }: Holder): Part => {
    if (!memory.has(make)) memory.set(make, make(config));
    return memory.get(make) as Part;
  };
  return Object.assign(getPart, { key: make });
}
