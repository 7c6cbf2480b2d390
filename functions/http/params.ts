import { ApiError } from '../../src/core/errors.ts';
import { slugPattern, slugRule } from '../../src/core/identifiers.ts';

/** A name in a path. Throws TimestoreError `invalid-request`. */
export function requireSlug(what: string, name: string): string {
  if (slugPattern.test(name)) return name;
  throw new ApiError('invalid-request', `${what}: ${slugRule}.`);
}
