import { ApiError } from './errors.ts';

/** A query that is not of the documented form: where, and what is wrong. */
export function invalidRequest(detail: string): ApiError {
  return new ApiError('invalid-request', `${detail}.`);
}

/** A query over a limit: where, and which. */
export function limitExceeded(detail: string): ApiError {
  return new ApiError('limit-exceeded', `${detail}.`);
}
