import { quoteName } from '../../core/identifiers.ts';
import { invalidRequest, limitExceeded } from '../../core/invalid-request.ts';
import type { Limits } from '../../core/limits.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import { paramText } from '../../stores/clickhouse/parameter.ts';
import { takesAggregate } from './allowed-functions.ts';
import { type TimeTexts, timeParam, timeTextsIn, typedTime } from './iso-times.ts';
import { joinTokens, lex, rejectedSql, type Token } from './lex.ts';
import { qualify } from './qualify.ts';
import { scan, type TableUse } from './scan.ts';
import { markerPrefix, requiresLiteral, tableMarker } from './tree.ts';

/** SQL as tokens, with the places of its tables. */
export type CompiledSql = {
  tokens: Token[];
  uses: TableUse[];
  /** Columns on the right side of IN, as `alias.column`. */
  columns: Set<string>;
  /** The types of the parameters, by name. */
  params: Map<string, string>;
  /** Texts that may be times. */
  times: TimeTexts[];
  /** The texts that ClickHouse accepts only as times, as far as `withTimes` has found out. */
  asTimes: Set<TimeTexts>;
};

/**
 * @param dataset the dataset of unqualified table names
 * @throws ApiError `invalid-request`, `limit-exceeded` for errors that need no ClickHouse
 */
export function compileSql(sql: string, dataset: string | undefined, limits: Limits): CompiledSql {
  if (sql.length > limits.sql_chars_max) {
    throw limitExceeded(
      `sql: the statement has ${sql.length} characters, more than ${limits.sql_chars_max} (limit sql_chars_max)`,
    );
  }
  const original = lex(sql);
  requireSelect(original);
  const tokens = qualify(original, dataset);
  const { uses, columns } = scan(tokens);
  return { tokens, uses, columns, params: collectParams(tokens), times: timeTextsIn(tokens), asTimes: new Set() };
}

/** Text in place of the tokens from `first` to `last`. */
type Replacement = { first: number; last: number; text: string };

/** Replaces the texts that ClickHouse accepts only as times. */
export function replaceTimes({ tokens, asTimes }: CompiledSql, params: Record<string, unknown>): Replacement[] {
  return [...asTimes].flatMap((node) => {
    const text = typedTime(tokens, node, params);
    return text === undefined ? [] : [{ first: node.first, last: node.last, text }];
  });
}

/** The SQL with a replacement for each table. `strings` as in `joinTokens`. */
export function sqlWith(
  { tokens, uses }: CompiledSql,
  replaceTable: (use: TableUse, n: number) => string,
  strings: 'as-sent' | 'plain' = 'as-sent',
  others: Replacement[] = [],
): string {
  const tables = uses.map((use, n): Replacement => {
    const alias = use.place === 'in' || use.hasAlias ? '' : ` AS ${quoteName(use.parts.at(-1) ?? '')}`;
    return { first: use.first, last: use.last, text: replaceTable(use, n) + alias };
  });
  const parts: Token[] = [];
  let next = 0;
  for (const { first, last, text } of [...tables, ...others].sort((a, b) => a.first - b.first)) {
    parts.push(...tokens.slice(next, first));
    parts.push({ kind: 'word', name: '', at: 0, isApart: true, text });
    next = last + 1;
  }
  return joinTokens([...parts, ...tokens.slice(next)], strings);
}

/** The SQL before and after its tables are replaced by markers, whose trees `checkTree` compares. */
export function textsToCheck(compiled: CompiledSql): { before: string; after: string } {
  return {
    before: joinTokens(compiled.tokens, 'plain'),
    after: sqlWith(compiled, (_, n) => tableMarker(n), 'plain'),
  };
}

/** Rejects other statements and clauses that callers may not use. */
function requireSelect(tokens: Token[]): void {
  const first = tokens.find(({ text }) => text !== '(');
  const word = first?.kind === 'word' ? first.text.toUpperCase() : '';
  if (!['SELECT', 'WITH', 'FROM'].includes(word)) throw invalidRequest('sql: only SELECT statements are allowed');
  let depth = 0;
  for (const [i, { kind, text, name }] of tokens.entries()) {
    if ('([{'.includes(text)) depth += 1;
    if (')]}'.includes(text)) depth -= 1;
    if (name.startsWith(markerPrefix)) throw invalidRequest(`sql: names with the prefix ${markerPrefix} are reserved`);
    if (takesAggregate(name)) {
      let first = i + 1;
      while (tokens[first]?.text === '(') first += 1;
      if (tokens[first]?.text === '{') throw rejectedSql(requiresLiteral(name));
    }
    if (kind !== 'word') continue;
    const next = tokens[i + 1];
    const upper = text.toUpperCase();
    if (upper === 'INTO' && next?.text.toUpperCase() === 'OUTFILE')
      throw invalidRequest('sql: INTO OUTFILE is not allowed');
    if (upper === 'PARALLEL' && next?.text.toUpperCase() === 'WITH')
      throw invalidRequest('sql: PARALLEL WITH is not allowed');
    if (upper === 'SETTINGS' && next?.kind === 'word' && tokens[i + 2]?.text === '=') {
      throw invalidRequest('sql: SETTINGS is not allowed');
    }
    const isLast = tokens[i + 2] === undefined || tokens[i + 2]?.text.toUpperCase() === 'SETTINGS';
    if (upper === 'FORMAT' && depth === 0 && next?.kind === 'word' && isLast && !/^(?:asc|desc)$/i.test(next.text)) {
      throw invalidRequest('sql: FORMAT is not allowed; use the member format or the header Accept');
    }
  }
}

/** Parameters `{name:Type}`. An Identifier could name any table. */
function collectParams(tokens: Token[]): Map<string, string> {
  const params = new Map<string, string>();
  for (const [i, { text }] of tokens.entries()) {
    if (text !== '{' || tokens[i + 1]?.kind !== 'param') continue;
    const name = tokens[i + 1]?.name ?? '';
    let type = '';
    for (let at = i + 3; at < tokens.length && tokens[at]?.text !== '}'; at += 1) {
      type += tokens[at]?.text ?? '';
      if (!/identifier/i.test(tokens[at]?.text ?? '')) continue;
      throw invalidRequest(`sql: parameter ${name} is an Identifier; parameters are values, not names`);
    }
    if (name.startsWith('_')) throw invalidRequest(`sql: parameter ${name}: names with a leading _ are reserved`);
    params.set(name, type);
  }
  return params;
}

/** Values as parameters of the SQL. Throws ApiError `invalid-request`, `limit-exceeded`. */
export function boundParams({ params }: CompiledSql, sent: Record<string, unknown>, limits: Limits): Settings {
  const names = Object.keys(sent);
  if (names.length > limits.sql_params_max) {
    throw limitExceeded(`params: at most ${limits.sql_params_max} parameters (limit sql_params_max)`);
  }
  const missing = [...params.keys()].find((name) => !Object.hasOwn(sent, name));
  if (missing !== undefined) throw invalidRequest(`params: parameter ${missing} of the SQL is missing`);
  const settings: Settings = {};
  for (const [name, value] of Object.entries(sent)) {
    const type = params.get(name);
    if (type === undefined) throw invalidRequest(`params: the SQL has no parameter ${name}`);
    const text = paramText(timeParam(type, value));
    if (text === undefined)
      throw invalidRequest(`params: ${name} must be a value or a list of values (integers beyond 2^53 as strings)`);
    if (Buffer.byteLength(text) > limits.sql_param_bytes_max) {
      throw limitExceeded(
        `params: ${name} is longer than ${limits.sql_param_bytes_max} bytes (limit sql_param_bytes_max)`,
      );
    }
    settings[`param_${name}`] = text;
  }
  return settings;
}
