import { ApiError } from '../../core/errors.ts';
import { quoteName } from '../../core/identifiers.ts';

/**
 * A token of SQL. `word` is a keyword or a bare name, `name` a quoted one, `param` a word within `{name:Type}`, where no
 * word is a keyword; `text` is what is sent on: comments are gone, and quoted names have one form.
 */
export type Token = {
  kind: 'word' | 'name' | 'param' | 'string' | 'number' | 'sign';
  text: string;
  /** The name that a word or a quoted name stands for. */
  name: string;
  /** Where it was in the SQL as it came, in characters. */
  at: number;
  /** Whether something stood between it and the one before: blanks or a comment. */
  isApart: boolean;
};

/** How deep brackets may nest. ClickHouse's own limit is further on, where its messages are less clear. */
const depth_max = 200;

const pairs: Record<string, string> = { ')': '(', ']': '[', '}': '{' };

/**
 * Cuts SQL into tokens by ClickHouse's rules. What those rules have and nobody needs is refused rather than followed: the
 * less there is to read differently from the server, the better.
 *
 * @throws TimestoreError `invalid-request`, `limit-exceeded`
 */
export function lex(sql: string): Token[] {
  const tokens: Token[] = [];
  const open: string[] = [];
  let at = 0;
  let isApart = false;
  while (at < sql.length) {
    const { kind, text, name, end } = nextToken(sql, at);
    if (kind !== 'space') {
      if (kind === 'sign') nest(open, text, at);
      tokens.push({ kind, text, name, at, isApart });
    }
    isApart = kind === 'space';
    at = end;
  }
  if (open.length > 0) throw refusedSql(`A bracket ${open.at(-1)} is not closed`);
  while (tokens.at(-1)?.text === ';') tokens.pop();
  if (tokens.length === 0) throw refusedSql('There is no SQL');
  if (tokens.some(({ kind, text }) => kind === 'sign' && text === ';')) {
    throw refusedSql('Only one statement can be sent at a time: leave out the semicolon');
  }
  markParameters(tokens);
  return tokens;
}

/** A parameter may be called as a keyword is: `{from:DateTime64(3)}`. */
function markParameters(tokens: Token[]): void {
  for (let i = 0; i < tokens.length; i += 1) {
    const isParameter = tokens[i]?.text === '{' && tokens[i + 1]?.kind === 'word' && tokens[i + 2]?.text === ':';
    if (!isParameter) continue;
    for (let token = tokens[i]; token !== undefined && token.text !== '}'; i += 1, token = tokens[i]) {
      if (token.kind === 'word') token.kind = 'param';
    }
  }
}

/** The SQL of tokens. Strings may be left out, for whoever looks at the structure only. */
export function joinTokens(tokens: Token[], strings: 'as-sent' | 'plain' = 'as-sent'): string {
  return tokens
    .map(({ kind, text, isApart }) => {
      return (isApart ? ' ' : '') + (kind === 'string' && strings === 'plain' ? plainString(text) : text);
    })
    .join('');
}

/** The same literal without line breaks: what shows it, line by line, must not be led to show others. */
function plainString(literal: string): string {
  const plain = literal.replace(/\\([\s\S])/g, (pair, escaped: string) => (/[\\']/.test(escaped) ? pair : '__'));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  return plain.replace(/[\u0000-\u001f\u007f]/g, '_');
}

export function refusedSql(detail: string): ApiError {
  return new ApiError('invalid-request', `${detail}.`);
}

type Lexed = { kind: Token['kind'] | 'space'; text: string; name: string; end: number };

const space = /[ \t\r\n\f\v]+|--[^\n]*|\/\*[\s\S]*?\*\//y;
const word = /[A-Za-z_][A-Za-z0-9_]*/y;
const number = /[0-9][0-9A-Za-z_]*(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?)?/y;
const exponent = /[0-9]+[eE][+-]?[0-9]+/y;
const string = /'(?:[^'\\]|\\[\s\S]|'')*'/y;
const quoted = /`(?:[^`\\]|\\[\\`]|``)*`|"(?:[^"\\]|\\[\\"]|"")*"/y;
const signs = /[-+*/%=<>!|&^~?:,.;()[\]{}]/y;

function nextToken(sql: string, at: number): Lexed {
  const match = (pattern: RegExp) => {
    pattern.lastIndex = at;
    return pattern.exec(sql)?.[0];
  };
  const made = (kind: Lexed['kind'], sent: string, text = sent, name = ''): Lexed => {
    return { kind, text, name, end: at + sent.length };
  };

  const blank = match(space);
  if (blank !== undefined) return made('space', blank);
  const bare = match(word);
  if (bare !== undefined) {
    // x'41', b'01' and the like are strings that say nothing of what is in them.
    if (bare.length === 1 && sql[at + 1] === "'") throw refusedAt(sql, at, `${bare}'…' is not accepted`);
    return made('word', bare, bare, bare);
  }
  const digits = match(exponent) ?? match(number);
  if (digits !== undefined) return made('number', digits);
  const literal = match(string);
  if (literal !== undefined) return made('string', literal);
  const sent = match(quoted);
  if (sent !== undefined) {
    const name = unquote(sent);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
    if (/[\u0000-\u001f\u007f]/.test(name)) throw refusedAt(sql, at, 'A name with control characters is not accepted');
    // What is learnt of a query comes as lines of `key: value`.
    if (name.includes(': ')) throw refusedAt(sql, at, 'In SQL, a name with a colon and a blank is not accepted');
    return made('name', sent, quoteName(name), name);
  }
  const sign = match(signs);
  if (sign !== undefined && !sql.startsWith('/*', at)) return made('sign', sign);
  throw refusedAt(sql, at, `${unexpected(sql, at)} is not accepted`);
}

function unexpected(sql: string, at: number): string {
  if (sql.startsWith('/*', at)) return 'A comment without an end';
  const character = sql[at] ?? '';
  if (/['"`]/.test(character)) return `A ${character} without its other one`;
  return /[!-~]/.test(character) ? `The character ${character}` : 'A character outside of ASCII, not in quotes,';
}

function unquote(sent: string): string {
  const quote = sent[0] ?? '';
  return sent
    .slice(1, -1)
    .replaceAll(quote + quote, quote)
    .replace(/\\(.)/g, '$1');
}

function nest(open: string[], sign: string, at: number): void {
  if ('([{'.includes(sign)) open.push(sign);
  if (open.length > depth_max) {
    throw new ApiError('limit-exceeded', `The SQL nests more than ${depth_max} brackets deep.`);
  }
  if (sign in pairs && open.pop() !== pairs[sign])
    throw refusedSql(`A bracket ${sign} at character ${at + 1} has no other`);
}

function refusedAt(sql: string, at: number, detail: string): ApiError {
  const before = sql.slice(0, at);
  const line = before.split('\n').length;
  return refusedSql(`${detail} (line ${line}, column ${at - before.lastIndexOf('\n')})`);
}
