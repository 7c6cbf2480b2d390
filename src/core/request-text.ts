import { ApiError } from './errors.ts';

/** An invalid value of a request. `path` has member names and indices, joined with dots. */
type Problem = { path: string; message: string };

const problems_max = 20;

/**
 * Rejects text in a JSON value that cannot be stored unchanged. Postgres accepts no NUL in text or JSON. Half of a
 * surrogate pair has no UTF-8 encoding, so every store would replace it. JavaScript objects treat `__proto__` specially
 * and could lose it.
 *
 * @param isNulKept for values that only ClickHouse stores: it accepts NUL
 * @throws ApiError `invalid-request` with the first problems
 */
export function requireText(value: unknown, { isNulKept = false } = {}): void {
  const problems: Problem[] = [];
  const visit = (each: unknown, path: string[]): void => {
    if (typeof each === 'string') {
      const message = textProblem(each, isNulKept);
      if (message !== undefined) problems.push({ path: path.join('.'), message });
      return;
    }
    if (each instanceof Inexact) {
      const message = 'this number has no exact representation; send it as a string';
      problems.push({ path: path.join('.'), message });
      return;
    }
    if (typeof each !== 'object' || each === null) return;
    for (const [name, member] of Object.entries(each)) {
      if (problems.length >= problems_max) return;
      const message = nameProblem(name, isNulKept);
      const memberPath = [...path, name.toWellFormed()];
      if (message === undefined) visit(member, memberPath);
      else problems.push({ path: memberPath.join('.'), message });
    }
  };
  visit(value, []);
  if (problems.length > 0) throw invalidValues(problems);
}

/**
 * Parses JSON of a request. Rejects the same text, and numbers that a double cannot represent: integers beyond 2^53 and
 * numbers beyond the range of a double.
 *
 * @throws SyntaxError for invalid JSON; ApiError `invalid-request` with the first problems
 */
export function readJson(json: string, options: { isNulKept?: boolean } = {}): unknown {
  const hasLargeNumbers = /\d{16}|\d[eE]\+?\d{2}/.test(json);
  const value = hasLargeNumbers ? JSON.parse(json, markInexact) : JSON.parse(json);
  // Such text needs one of these: most bodies are not visited.
  if (hasLargeNumbers || json.includes('\\u') || json.includes('__proto__')) requireText(value, options);
  return value;
}

/** A number without an exact representation. */
class Inexact {}

function markInexact(this: unknown, _name: string, value: unknown, { source = '' }: { source?: string } = {}): unknown {
  if (typeof value !== 'number') return value;
  const isKept = /[.eE]/.test(source) ? Number.isFinite(value) : source === '-0' || BigInt(source) === BigInt(value);
  return isKept ? value : new Inexact();
}

/** Rejects the same text in query parameters, and NUL in the path. Throws ApiError `invalid-request`. */
export function requireTextInUrl(url: string): void {
  // Half of a surrogate pair cannot occur in a URL.
  if (!/%00|__proto__|%5f/i.test(url)) return;
  const { pathname, searchParams } = new URL(url);
  const problems = [...searchParams].flatMap(([name, value]) => {
    const message = nameProblem(name) ?? textProblem(value);
    return message === undefined ? [] : [{ path: name, message }];
  });
  if (pathname.includes('%00')) problems.unshift({ path: 'path', message: nulProblem });
  if (problems.length > 0) throw invalidValues(problems.slice(0, problems_max));
}

/** The error for a request with invalid values. */
export function invalidValues(problems: Problem[]): ApiError {
  const messages = problems.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
  return new ApiError('invalid-request', `${messages.join('; ')}.`, { extra: { problems } });
}

const nulProblem = 'a NUL character cannot be stored';

function nameProblem(name: string, isNulKept = false): string | undefined {
  return name === '__proto__' ? 'this name cannot be used' : textProblem(name, isNulKept);
}

function textProblem(text: string, isNulKept = false): string | undefined {
  if (!isNulKept && text.includes('\0')) return nulProblem;
  return text.isWellFormed() ? undefined : 'half of a surrogate pair is not a character';
}
