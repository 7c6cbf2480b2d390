import { quoteString } from '../../core/identifiers.ts';
import { arrayText } from '../../stores/clickhouse/parameter.ts';
import type { Token } from './lex.ts';

/**
 * A compared text in the time format of answers, `2026-05-01T10:00:00.000Z`. ClickHouse does not convert it beside a sort key
 * and reports an error; only then is it sent as a time, because ClickHouse alone knows the types of expressions.
 */
export type TimeTexts = {
  /** Tokens of a literal or of a parameter. */
  first: number;
  last: number;
  /**
   * The first token of the list after IN that contains the text, or of the text itself where it has an alias. For these
   * ClickHouse reports no error where the other side is text.
   */
  list: number | undefined;
  /** Undefined for a literal. */
  param: { name: string; isList: boolean } | undefined;
};

const form = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)$/;

type Time = { at_ms: number; fraction: string };

/** A time with a zone: `at_ms` has whole seconds, `fraction` the digits after them. */
function parseTimeText(text: string): Time | undefined {
  const [, year, month, day, hour, minute, second, fraction = '', zone = ''] = form.exec(text) ?? [];
  if (year === undefined) return undefined;
  const written = `${year}-${month}-${day}T${hour}:${minute}:${second}`;
  const local_ms = Date.parse(`${written}Z`);
  const [hours, minutes] = [Number(zone.slice(1, 3)), Number(zone.slice(4, 6))];
  if (Number.isNaN(local_ms) || !new Date(local_ms).toISOString().startsWith(written) || hours > 23 || minutes > 59) {
    return undefined;
  }
  const offset_ms = zone.length === 1 ? 0 : (hours * 60 + minutes) * 60_000 * (zone.startsWith('-') ? -1 : 1);
  return { at_ms: local_ms - offset_ms, fraction };
}

function storedText({ at_ms, fraction }: Time): string {
  const iso = new Date(at_ms).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}${fraction === '' ? '' : `.${fraction}`}`;
}

/** DateTime64 has times up to 2262 with nine digits, and from 1900 to 2299 with fewer. No row lies outside of both. */
const [earliest_ms, latest_ms] = [Date.UTC(1901, 0, 1), Date.UTC(2262, 0, 1)];

function timeSql(text: string): string | undefined {
  const time = parseTimeText(text);
  if (time === undefined) return undefined;
  const clamped: Time = { ...time, at_ms: Math.min(Math.max(time.at_ms, earliest_ms), latest_ms) };
  const digits = Math.max(3, Math.ceil(time.fraction.length / 3) * 3);
  return `toDateTime64(${quoteString(storedText(clamped))}, ${digits}, 'UTC')`;
}

/** The SQL of a literal or a parameter as a time; undefined for a text that is not a time. */
export function typedTime(tokens: Token[], at: TimeTexts, params: Record<string, unknown>): string | undefined {
  if (at.param === undefined) return timeSql(tokens[at.first]?.text.slice(1, -1) ?? '');
  const value = params[at.param.name];
  if (!at.param.isList) return typeof value === 'string' ? timeSql(value) : undefined;
  if (!Array.isArray(value)) return undefined;
  const items = value.flatMap((item) => (typeof item === 'string' ? (timeSql(item) ?? []) : []));
  return items.length < value.length || items.length === 0 ? undefined : arrayText(items, true);
}

/** Whether a literal or a parameter has a text. */
export function hasText(tokens: Token[], at: TimeTexts, params: Record<string, unknown>, text: string): boolean {
  if (at.param === undefined) return tokens[at.first]?.text === quoteString(text);
  const value = params[at.param.name];
  return value === text || (Array.isArray(value) && value.includes(text));
}

/** An open bracket, and whether its content is compared: a tuple beside an operator, or a list after IN. */
type Bracket = { isCompared: boolean; list: number | undefined };

/** Compared texts that may be times. */
export function timeTextsIn(tokens: Token[]): TimeTexts[] {
  const found: TimeTexts[] = [];
  const open: Bracket[] = [];
  let between: number | undefined;
  for (let i = 0; i < tokens.length; i += 1) {
    const { kind, text } = tokens[i] as Token;
    const around = open.at(-1);
    if (kind === 'word' && text.toUpperCase() === 'BETWEEN') between = open.length;
    const param = text === '{' ? paramAt(tokens, i) : undefined;
    if (param !== undefined || (kind === 'string' && form.test(text.slice(1, -1)))) {
      const last = param?.last ?? i;
      const isBetween = between === open.length && ['BETWEEN', 'AND'].includes(tokens[i - 1]?.text.toUpperCase() ?? '');
      const isAlone = isWord(tokens[i - 1], 'IN') || isWord(tokens[last + 1], 'AS');
      const list = around?.list ?? (isAlone ? i : undefined);
      const isCompared =
        around?.isCompared || isOperator(tokens, i - 1) || '=<>!'.includes(tokens[last + 1]?.text ?? ' ');
      if (isBetween || list !== undefined || isCompared) found.push({ first: i, last, list, param: param?.param });
      i = last;
    } else if ('([{'.includes(text)) open.push(bracketAt(tokens, i, around));
    else if (')]}'.includes(text)) open.pop();
  }
  return found;
}

const comparisons = new Set(
  'equals notequals less greater lessorequals greaterorequals isdistinctfrom isnotdistinctfrom'.split(' '),
);

function bracketAt(tokens: Token[], i: number, around: Bracket | undefined): Bracket {
  const before = tokens[i - 1];
  const isQuery = ['SELECT', 'WITH', 'FROM'].includes(tokens[i + 1]?.text.toUpperCase() ?? '');
  if (isQuery) return { isCompared: false, list: undefined };
  if (isWord(before, 'IN')) return { isCompared: false, list: i };
  if (before?.kind === 'word' && comparisons.has(before.text.toLowerCase()))
    return { isCompared: true, list: undefined };
  const isNested = before !== undefined && '([,'.includes(before.text);
  if (isNested && around !== undefined) return around;
  return { isCompared: isOperator(tokens, i - 1), list: undefined };
}

function isWord(token: Token | undefined, word: string): boolean {
  return token?.kind === 'word' && token.text.toUpperCase() === word;
}

/** Operators are tokens of one character. An arrow `->` is not a comparison. */
function isOperator(tokens: Token[], i: number): boolean {
  const text = tokens[i]?.text ?? ' ';
  return '=<>'.includes(text) && !(text === '>' && tokens[i - 1]?.text === '-');
}

/** A parameter of type String or Array(String). */
function paramAt(tokens: Token[], i: number): { last: number; param: TimeTexts['param'] } | undefined {
  const texts = tokens.slice(i, i + 8).map(({ text }) => text);
  const name = tokens[i + 1]?.name ?? '';
  if (/^\{[^:]+:String\}/.test(texts.join(''))) return { last: i + 4, param: { name, isList: false } };
  if (/^\{[^:]+:Array\(String\)\}/.test(texts.join(''))) return { last: i + 7, param: { name, isList: true } };
  return undefined;
}

/** Converts the value of a parameter of a time type to the format of ClickHouse. Other values stay unchanged. */
export function timeParam(type: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => timeParam(type, item));
  const [, name, zone] =
    /^(?:(?:Array|Nullable|LowCardinality)\()*(DateTime64|DateTime|DateTime32|Date32|Date)\b(?:\(.*?'([^']*)'\))?/.exec(
      type,
    ) ?? [];
  const time = typeof value === 'string' && name !== undefined ? parseTimeText(value) : undefined;
  if (time === undefined) return value;
  if (name?.startsWith('Date') && !name.startsWith('DateTime')) return storedText(time).slice(0, 10);
  const shown = { ...time, fraction: name === 'DateTime64' ? time.fraction : '' };
  if (zone === undefined || zone === 'UTC') return storedText(shown);
  return `${time.at_ms / 1_000}${shown.fraction === '' ? '' : `.${shown.fraction}`}`;
}
