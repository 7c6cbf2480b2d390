import { durationOf } from '../duration.ts';
import { type LogLevel, logLevels } from '../log-level.ts';

export const comparisons = ['>', '>=', '<', '<=', '==', '!='] as const;
export type Comparison = (typeof comparisons)[number];

/** Aggregates of a number over a window. */
export const windowFunctions = [
  'avg',
  'min',
  'max',
  'sum',
  'median',
  'p50',
  'p90',
  'p95',
  'p99',
  'last',
  'count',
] as const;
export type WindowFunction = (typeof windowFunctions)[number];

/** Number columns of `service_status`. */
export const statusNumbers = ['response_time_ms', 'cpu_usage', 'memory_usage', 'status_code'] as const;
export type StatusNumber = (typeof statusNumbers)[number];

/** What a rule compares with its threshold. Windows are in milliseconds. */
export type Condition = {
  comparison: Comparison;
} /** The newest results of a service in a row that have failed; `degraded` counts as failed if asked for. */ & (
  | { kind: 'failures-in-a-row'; isDegradedCounted: boolean }
  /** Percent of the results of the window that have failed. */
  | { kind: 'failure-rate'; window_ms: number }
  | { kind: 'status'; function: WindowFunction; column: StatusNumber; window_ms: number }
  | {
      kind: 'metric';
      metric: string;
      function: WindowFunction;
      tags: { name: string; value: string }[];
      window_ms: number;
    }
  /** The number of log lines. `matches` is an RE2 expression, which ClickHouse runs. */
  | { kind: 'logs'; level?: LogLevel; contains?: string; matches?: string; window_ms: number }
  /** Seconds since the newest row. */
  | { kind: 'no-data' }
  /** Days until the certificate of the service ends. */
  | { kind: 'certificate-days' }
);

export type ConditionResult = { condition: Condition } | { problem: string };

const window_ms_max = 30 * 86_400_000;

/**
 * Parses the condition of a rule, such as `failure_rate over 5m >`. The number that it is compared with is the rule's
 * threshold.
 */
export function parseCondition(text: string): ConditionResult {
  try {
    return { condition: new Parser(text).condition() };
  } catch (error) {
    if (error instanceof Problem) return { problem: error.message };
    throw error;
  }
}

class Problem extends Error {}

type Token = { kind: 'word' | 'text' | 'sign' | 'end'; text: string };

function tokensOf(text: string): Token[] {
  const pattern =
    /\s*(?:(?<word>[A-Za-z0-9_][A-Za-z0-9_.-]*)|'(?<quoted>(?:[^'\\]|\\.)*)'|(?<sign>>=|<=|==|!=|[><=(),]))/y;
  const tokens: Token[] = [];
  while (pattern.lastIndex < text.trimEnd().length) {
    const from = pattern.lastIndex;
    const { word, quoted, sign } = pattern.exec(text)?.groups ?? {};
    if (word !== undefined) tokens.push({ kind: 'word', text: word });
    else if (quoted !== undefined) tokens.push({ kind: 'text', text: quoted.replace(/\\(.)/g, '$1') });
    else if (sign !== undefined) tokens.push({ kind: 'sign', text: sign });
    else throw new Problem(`${JSON.stringify(text.slice(from).trim().slice(0, 20))} is not understood`);
  }
  return [...tokens, { kind: 'end', text: '' }];
}

const subjects =
  'failures_in_a_row, failure_rate, avg(response_time_ms) and other functions, metric(…), logs(…), no_data, cert_days';

class Parser {
  readonly #tokens: Token[];
  #next = 0;

  constructor(text: string) {
    this.#tokens = tokensOf(text);
  }

  condition(): Condition {
    const subject = this.#word(`one of ${subjects}`);
    const value = this.#subject(subject);
    const comparison = this.#comparison();
    if (this.#peek().kind !== 'end') {
      throw new Problem(
        `a condition ends with its comparison, not with ${shown(this.#peek())}: the number is the threshold`,
      );
    }
    return { ...value, comparison };
  }

  #subject(subject: string) {
    switch (subject) {
      case 'failures_in_a_row':
        return { kind: 'failures-in-a-row' as const, isDegradedCounted: this.#takesDegraded() };
      case 'failure_rate':
        return { kind: 'failure-rate' as const, window_ms: this.#over() };
      case 'no_data':
        return { kind: 'no-data' as const };
      case 'cert_days':
        return { kind: 'certificate-days' as const };
      case 'metric':
        return this.#metric();
      case 'logs':
        return this.#logs();
      default:
        return this.#status(subject);
    }
  }

  /** `failures_in_a_row(degraded)` counts degraded results too. */
  #takesDegraded(): boolean {
    if (this.#peek().text !== '(') return false;
    const word = this.#inParentheses(() => this.#word('degraded'));
    if (word !== 'degraded') throw new Problem(`failures_in_a_row takes degraded, not ${word}`);
    return true;
  }

  #status(name: string) {
    const found = windowFunctions.find((each) => each === name);
    if (found === undefined) throw new Problem(`${name} is unknown; a condition begins with ${subjects}`);
    const column = this.#inParentheses(() => {
      const word = this.#word(`a column: ${statusNumbers.join(', ')}`);
      const column = statusNumbers.find((each) => each === word);
      if (column === undefined)
        throw new Problem(`${word} is no number of service_status (${statusNumbers.join(', ')})`);
      return column;
    });
    return { kind: 'status' as const, function: found, column, window_ms: this.#over() };
  }

  #metric() {
    const [metric, called] = this.#inParentheses(() => {
      const metric = this.#name('the name of a metric');
      this.#sign(',');
      return [metric, this.#word(`a function: ${windowFunctions.join(', ')}`)] as const;
    });
    const found = windowFunctions.find((each) => each === called);
    if (found === undefined) throw new Problem(`${called} is no function of a metric (${windowFunctions.join(', ')})`);
    const window_ms = this.#over();
    const tags: { name: string; value: string }[] = [];
    while (this.#peek().text === (tags.length === 0 ? 'where' : 'and')) {
      this.#next += 1;
      const path = this.#word('tags.<name>');
      if (!/^tags\../.test(path)) throw new Problem(`where compares tags.<name>, not ${path}`);
      this.#sign('=');
      tags.push({ name: path.slice('tags.'.length), value: this.#text('the value of a tag in single quotes') });
    }
    return { kind: 'metric' as const, metric, function: found, tags, window_ms };
  }

  #logs() {
    const wanted: { level?: LogLevel; contains?: string; matches?: string } = {};
    this.#inParentheses(() => {
      while (this.#peek().text !== ')') {
        const name = this.#word('level, contains or matches');
        this.#sign('=');
        if (name === 'level') {
          const word = this.#name('a level');
          const level = logLevels.find((each) => each === word);
          if (level === undefined) throw new Problem(`${word} is no level (${logLevels.join(', ')})`);
          wanted.level = level;
        } else if (name === 'contains' || name === 'matches') {
          wanted[name] = this.#text(`the text of ${name} in single quotes`);
        } else {
          throw new Problem(`logs takes level, contains and matches, not ${name}`);
        }
        if (this.#peek().text !== ')') this.#sign(',');
      }
    });
    return { kind: 'logs' as const, ...wanted, window_ms: this.#over() };
  }

  #over(): number {
    const word = this.#word('over <window>');
    if (word !== 'over') throw new Problem(`over <window> is missing before ${word}`);
    return this.#duration();
  }

  #duration(): number {
    const text = this.#word('a window such as 5m');
    const found_ms = durationOf(text);
    if (found_ms === undefined || found_ms < 1_000 || found_ms > window_ms_max) {
      throw new Problem(`${text} is no window from 1s to 30d`);
    }
    return found_ms;
  }

  #comparison(): Comparison {
    const { text } = this.#take();
    const found = comparisons.find((each) => each === text);
    if (found === undefined) throw new Problem(`a condition ends with a comparison (${comparisons.join(' ')})`);
    return found;
  }

  #inParentheses<Value>(read: () => Value): Value {
    this.#sign('(');
    const value = read();
    this.#sign(')');
    return value;
  }

  #sign(sign: string): void {
    const token = this.#take();
    if (token.kind !== 'sign' || token.text !== sign) throw new Problem(`${sign} is missing before ${shown(token)}`);
  }

  #word(what: string): string {
    const token = this.#take();
    if (token.kind !== 'word') throw new Problem(`${what} is missing before ${shown(token)}`);
    return token.text;
  }

  /** A name as it is, or in quotes. */
  #name(what: string): string {
    const token = this.#take();
    if (token.kind !== 'word' && token.kind !== 'text') throw new Problem(`${what} is missing before ${shown(token)}`);
    return token.text;
  }

  #text(what: string): string {
    const token = this.#take();
    if (token.kind !== 'text') throw new Problem(`${what} is missing before ${shown(token)}`);
    return token.text;
  }

  #peek(): Token {
    return this.#tokens[this.#next] ?? { kind: 'end', text: '' };
  }

  #take(): Token {
    const token = this.#peek();
    this.#next += 1;
    return token;
  }
}

function shown({ kind, text }: Token): string {
  if (kind === 'end') return 'the end';
  return kind === 'text' ? `'${text}'` : text;
}

/** Whether a value is on the side of the threshold that the comparison names. */
export function compares(value: number, comparison: Comparison, threshold: number): boolean {
  switch (comparison) {
    case '>':
      return value > threshold;
    case '>=':
      return value >= threshold;
    case '<':
      return value < threshold;
    case '<=':
      return value <= threshold;
    case '==':
      return value === threshold;
    case '!=':
      return value !== threshold;
  }
}
