import { TimestoreError } from '../../src/core/errors.ts';
import { slugPattern, slugRule } from '../../src/core/identifiers.ts';

/** A name in a path. Throws TimestoreError `invalid-request`. */
export function slugOf(what: string, name: string): string {
  if (slugPattern.test(name)) return name;
  throw new TimestoreError('invalid-request', `${what}: ${slugRule}.`);
}
