import { ApiError } from '../../core/errors.ts';
import { quoteName } from '../../core/identifiers.ts';

/**
 * A token of SQL. `word` is a keyword or an unquoted name, `name` a quoted name, `param` a word within `{name:Type}`, where
 * words are not keywords. `text` is sent to ClickHouse: quoted names have one form.
 */
export type Token = {
  kind: 'word' | 'name' | 'param' | 'string' | 'number' | 'sign';
  text: string;
  /** The name of a word or a quoted name. */
  name: string;
  /** The position in the SQL of the caller, in characters. */
  at: number;
  /** Whether whitespace or a comment precedes. */
  isApart: boolean;
};

/** Below the limit of ClickHouse, whose message is less clear. */
const depth_max = 200;

const pairs: Record<string, string> = { ')': '(', ']': '[', '}': '{' };

/**
 * Splits SQL into tokens by the rules of ClickHouse. Rare syntax is rejected rather than parsed: each supported rule could
 * differ from that of the server.
 *
 * @throws ApiError `invalid-request`, `limit-exceeded`
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
  if (open.length > 0) throw rejectedSql(`Unclosed bracket ${open.at(-1)}`);
  while (tokens.at(-1)?.text === ';') tokens.pop();
  if (tokens.length === 0) throw rejectedSql('The SQL is empty');
  if (tokens.some(({ kind, text }) => kind === 'sign' && text === ';')) {
    throw rejectedSql('Only one statement is allowed: remove the semicolon');
  }
  markParameters(tokens);
  return tokens;
}

/** The name of a parameter may be a keyword: `{from:DateTime64(3)}`. */
function markParameters(tokens: Token[]): void {
  for (let i = 0; i < tokens.length; i += 1) {
    const isParameter = tokens[i]?.text === '{' && tokens[i + 1]?.kind === 'word' && tokens[i + 2]?.text === ':';
    if (!isParameter) continue;
    for (let token = tokens[i]; token !== undefined && token.text !== '}'; i += 1, token = tokens[i]) {
      if (token.kind === 'word') token.kind = 'param';
    }
  }
}

/** The SQL of tokens. `plain` strings are for analysis, where their content does not matter. */
export function joinTokens(tokens: Token[], strings: 'as-sent' | 'plain' = 'as-sent'): string {
  return tokens
    .map(({ kind, text, isApart }) => {
      return (isApart ? ' ' : '') + (kind === 'string' && strings === 'plain' ? plainString(text) : text);
    })
    .join('');
}

/** Replaces control characters: EXPLAIN prints literals, and a line break would forge lines of its output. */
function plainString(literal: string): string {
  const plain = literal.replace(/\\([\s\S])/g, (pair, escaped: string) => (/[\\']/.test(escaped) ? pair : '__'));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern looks for control characters
  return plain.replace(/[\u0000-\u001f\u007f]/g, '_');
}

export function rejectedSql(detail: string): ApiError {
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
  const token = (kind: Lexed['kind'], sent: string, text = sent, name = ''): Lexed => {
    return { kind, text, name, end: at + sent.length };
  };

  const blank = match(space);
  if (blank !== undefined) return token('space', blank);
  const bare = match(word);
  if (bare !== undefined) {
    // x'41' and b'01' are encoded strings, which the checks of literals could not read.
    if (bare.length === 1 && sql[at + 1] === "'") throw rejectedAt(sql, at, `${bare}'…' is not allowed`);
    return token('word', bare, bare, bare);
  }
  const digits = match(exponent) ?? match(number);
  if (digits !== undefined) return token('number', digits);
  const literal = match(string);
  if (literal !== undefined) return token('string', literal);
  const sent = match(quoted);
  if (sent !== undefined) {
    const name = unquote(sent);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern looks for control characters
    if (/[\u0000-\u001f\u007f]/.test(name)) throw rejectedAt(sql, at, 'A name with control characters is not allowed');
    // EXPLAIN prints lines of `key: value`, which such a name could forge.
    if (name.includes(': ')) throw rejectedAt(sql, at, 'A name with a colon and a space is not allowed in SQL');
    return token('name', sent, quoteName(name), name);
  }
  const sign = match(signs);
  if (sign !== undefined && !sql.startsWith('/*', at)) return token('sign', sign);
  throw rejectedAt(sql, at, `${unexpected(sql, at)} is not allowed`);
}

function unexpected(sql: string, at: number): string {
  if (sql.startsWith('/*', at)) return 'An unclosed comment';
  const character = sql[at] ?? '';
  if (/['"`]/.test(character)) return `An unclosed ${character}`;
  return /[!-~]/.test(character) ? `The character ${character}` : 'A non-ASCII character outside of quotes';
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
    throw new ApiError('limit-exceeded', `The SQL nests brackets more than ${depth_max} deep.`);
  }
  if (sign in pairs && open.pop() !== pairs[sign])
    throw rejectedSql(`Unmatched bracket ${sign} at character ${at + 1}`);
}

function rejectedAt(sql: string, at: number, detail: string): ApiError {
  const before = sql.slice(0, at);
  const line = before.split('\n').length;
  return rejectedSql(`${detail} (line ${line}, column ${at - before.lastIndexOf('\n')})`);
}
