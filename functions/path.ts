import { TimestoreError } from '../src/errors.ts';
import { slug } from '../src/names.ts';

/** A name in a path. Throws TimestoreError `invalid-request`. */
export function slugOf(what: string, name: string): string {
  const result = slug.safeParse(name);
  if (result.success) return result.data;
  throw new TimestoreError('invalid-request', `${what}: ${result.error.issues[0]?.message}.`);
}
