import { ApiError } from './errors.ts';

/** @param detail the place in the query and its problem, without a full stop */
export function invalidRequest(detail: string): ApiError {
  return new ApiError('invalid-request', `${detail}.`);
}

/** @param detail the place in the query and the limit, without a full stop */
export function limitExceeded(detail: string): ApiError {
  return new ApiError('limit-exceeded', `${detail}.`);
}
