import type { Config } from './config.ts';

/** What an instance remembers, in parts that their owners make. Copies of a context share it. */
export type InstanceMemory = Map<object, unknown>;

type Holder = { config: Config; memory: InstanceMemory };

/**
 * A part of each instance's memory: it is made when it is first used, and is nobody's but its owner's.
 *
 * @param make the part, empty, with the bounds that the configuration gives it
 * @returns the part of an instance; `key` is where it lies
 */
export function inEachInstance<Part>(make: (config: Config) => Part): ((ctx: Holder) => Part) & { key: object } {
  const partOf = ({ memory, config }: Holder): Part => {
    if (!memory.has(make)) memory.set(make, make(config));
    return memory.get(make) as Part;
  };
  return Object.assign(partOf, { key: make });
}
