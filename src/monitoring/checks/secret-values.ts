import { inEachInstance } from '../../core/instance-memory.ts';
import { LruMap } from '../../core/lru-map.ts';
import type { MonitoringDeps } from '../deps.ts';
import { readSecrets } from '../resources/secrets.ts';

/** Values of secrets by dataset and name, at a revision of the configuration, which grows with each change of a secret. */
const known = inEachInstance(() => new LruMap<string | null>(10_000));

/** Values of secrets that checks need. A name that is not stored is missing. Throws StoreError. */
export async function secretValues(
  ctx: MonitoringDeps,
  dataset: string,
  revision: number,
  names: string[],
): Promise<Map<string, string>> {
  const values = known(ctx);
  const key = (name: string) => `${dataset} ${revision} ${name}`;
  const missing = [...new Set(names)].filter((name) => values.get(key(name)) === undefined);
  if (missing.length > 0) {
    const read = await readSecrets(ctx, dataset, missing);
    for (const name of missing) values.set(key(name), read.get(name) ?? null);
  }
  return new Map(
    names.flatMap((name) => {
      const value = values.get(key(name));
      return typeof value === 'string' ? [[name, value]] : [];
    }),
  );
}
