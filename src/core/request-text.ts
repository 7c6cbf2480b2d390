import { ApiError } from './errors.ts';

/** What is wrong with a value of a request, and where it is: names and places, with dots between. */
type Problem = { path: string; message: string };

const problems_max = 20;

/**
 * Refuses text in a JSON value that cannot be kept as it was sent. Postgres takes no NUL in text or JSON. Half of a
 * surrogate pair has no UTF-8 form, so every store would get another character for it. And an object of JavaScript has a
 * meaning of its own for `__proto__`: what goes through one could lose it.
 *
 * @param isNulKept for what only ClickHouse gets, where rows have NUL
 * @throws TimestoreError `invalid-request`, naming the first places
 */
export function requireText(value: unknown, { isNulKept = false } = {}): void {
  const problems: Problem[] = [];
  const look = (each: unknown, path: string[]): void => {
    if (typeof each === 'string') {
      const message = textProblem(each, isNulKept);
      if (message !== undefined) problems.push({ path: path.join('.'), message });
      return;
    }
    if (each instanceof Inexact) {
      const message = 'a number of JSON cannot be this exactly; send it as a string';
      problems.push({ path: path.join('.'), message });
      return;
    }
    if (typeof each !== 'object' || each === null) return;
    for (const [name, member] of Object.entries(each)) {
      if (problems.length >= problems_max) return;
      const message = nameProblem(name, isNulKept);
      const below = [...path, name.toWellFormed()];
      if (message === undefined) look(member, below);
      else problems.push({ path: below.join('.'), message });
    }
  };
  look(value, []);
  if (problems.length > 0) throw invalidForm(problems);
}

/**
 * Reads JSON of a request that is kept or used as values of JavaScript. Refuses the same, and numbers that would become
 * others: whole ones beyond 2^53 and those beyond what a double can be.
 *
 * @throws SyntaxError for what is not JSON; TimestoreError `invalid-request`, naming the first places
 */
export function readJson(json: string, options: { isNulKept?: boolean } = {}): unknown {
  const hasLargeNumbers = /\d{16}|\d[eE]\+?\d{2}/.test(json);
  const value = hasLargeNumbers ? JSON.parse(json, marked) : JSON.parse(json);
  // Without any of these it has no such text: most need not be looked through.
  if (hasLargeNumbers || json.includes('\\u') || json.includes('__proto__')) requireText(value, options);
  return value;
}

/** What stands for a number that would become another. */
class Inexact {}

function marked(this: unknown, _name: string, value: unknown, { source = '' }: { source?: string } = {}): unknown {
  if (typeof value !== 'number') return value;
  const isKept = /[.eE]/.test(source) ? Number.isFinite(value) : source === '-0' || BigInt(source) === BigInt(value);
  return isKept ? value : new Inexact();
}

/** Refuses the same in the query parameters of a request, and NUL in its path. Throws TimestoreError `invalid-request`. */
export function requireTextInUrl(url: string): void {
  // Nothing else of what is refused has a form in an address.
  if (!/%00|__proto__|%5f/i.test(url)) return;
  const { pathname, searchParams } = new URL(url);
  const problems = [...searchParams].flatMap(([name, value]) => {
    const message = nameProblem(name) ?? textProblem(value);
    return message === undefined ? [] : [{ path: name, message }];
  });
  if (pathname.includes('%00')) problems.unshift({ path: 'path', message: nulProblem });
  if (problems.length > 0) throw invalidForm(problems.slice(0, problems_max));
}

/** The answer to a request that is not of the documented form: everything that is wrong with it. */
export function invalidForm(problems: Problem[]): ApiError {
  const told = problems.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
  return new ApiError('invalid-request', `${told.join('; ')}.`, { extra: { problems } });
}

const nulProblem = 'a NUL character cannot be stored';

function nameProblem(name: string, isNulKept = false): string | undefined {
  return name === '__proto__' ? 'this name cannot be used' : textProblem(name, isNulKept);
}

function textProblem(text: string, isNulKept = false): string | undefined {
  if (!isNulKept && text.includes('\0')) return nulProblem;
  return text.isWellFormed() ? undefined : 'half of a surrogate pair is not a character';
}
