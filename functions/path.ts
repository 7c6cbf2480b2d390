import { TimestoreError } from '../src/errors.ts';
import { slugPattern, slugRule } from '../src/names.ts';

/** A name in a path. Throws TimestoreError `invalid-request`. */
export function slugOf(what: string, name: string): string {
  if (slugPattern.test(name)) return name;
  throw new TimestoreError('invalid-request', `${what}: ${slugRule}.`);
}
