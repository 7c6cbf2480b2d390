import { TimestoreError } from './errors.ts';

/** A query that is not of the documented form: where, and what is wrong. */
export function invalid(detail: string): TimestoreError {
  return new TimestoreError('invalid-request', `${detail}.`);
}

/** A query over a limit: where, and which. */
export function tooMuch(detail: string): TimestoreError {
  return new TimestoreError('limit-exceeded', `${detail}.`);
}
