import { quoteName } from '../../core/identifiers.ts';
import { invalidRequest, limitExceeded } from '../../core/invalid-request.ts';
import type { Limits } from '../../core/limits.ts';
import type { Settings } from '../../stores/clickhouse/client.ts';
import { paramText } from '../../stores/clickhouse/parameter.ts';
import { takesAggregate } from './allowed-functions.ts';
import { type TimeTexts, timeParam, timeTextsIn, typedTime } from './iso-times.ts';
import { joinTokens, lex, refusedSql, type Token } from './lex.ts';
import { qualify } from './qualify.ts';
import { scan, type TableUse } from './scan.ts';
import { markerPrefix, notWrittenOut, tableMarker } from './tree.ts';

/** SQL cut into what stays and the tables it uses. */
export type CompiledSql = {
  tokens: Token[];
  uses: TableUse[];
  /** Columns that IN looks into, by their alias and name. */
  columns: Set<string>;
  /** The parameters it has, with their types. */
  params: Map<string, string>;
  /** Places of texts that may be times. */
  times: TimeTexts[];
  /** Those of them that ClickHouse was found to take only as times. */
  asTimes: Set<TimeTexts>;
};

/**
 * @param dataset where tables are that are named without one
 * @throws TimestoreError `invalid-request`, `limit-exceeded` for what can be seen without asking ClickHouse
 */
export function compileSql(sql: string, dataset: string | undefined, limits: Limits): CompiledSql {
  if (sql.length > limits.sql_chars_max) {
    throw limitExceeded(
      `sql: it has ${sql.length} characters, more than ${limits.sql_chars_max} (limit sql_chars_max)`,
    );
  }
  const sent = lex(sql);
  refuseOtherStatements(sent);
  const tokens = qualify(sent, dataset);
  const { uses, columns } = scan(tokens);
  return { tokens, uses, columns, params: collectParams(tokens), times: timeTextsIn(tokens), asTimes: new Set() };
}

/** What stands in the place of tokens. */
type Replaced = { first: number; last: number; text: string };

/** The texts that ClickHouse takes only as times, as such. */
export function replaceTimes({ tokens, asTimes }: CompiledSql, params: Record<string, unknown>): Replaced[] {
  return [...asTimes].flatMap((node) => {
    const text = typedTime(tokens, node, params);
    return text === undefined ? [] : [{ first: node.first, last: node.last, text }];
  });
}

/** The SQL with something else in the place of each table. `strings` as in `textOf`. */
export function sqlWith(
  { tokens, uses }: CompiledSql,
  put: (use: TableUse, n: number) => string,
  strings: 'as-sent' | 'plain' = 'as-sent',
  others: Replaced[] = [],
): string {
  const tables = uses.map((use, n): Replaced => {
    const alias = use.place === 'in' || use.hasAlias ? '' : ` AS ${quoteName(use.parts.at(-1) ?? '')}`;
    return { first: use.first, last: use.last, text: put(use, n) + alias };
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

/** The two texts whose trees are compared. */
export function textsToCheck(compiled: CompiledSql): { before: string; after: string } {
  return {
    before: joinTokens(compiled.tokens, 'plain'),
    after: sqlWith(compiled, (_, n) => tableMarker(n), 'plain'),
  };
}

/** Clauses that a SELECT can have and that are not its business. ClickHouse would refuse most of them too, in its own words. */
function refuseOtherStatements(tokens: Token[]): void {
  const first = tokens.find(({ text }) => text !== '(');
  const word = first?.kind === 'word' ? first.text.toUpperCase() : '';
  if (!['SELECT', 'WITH', 'FROM'].includes(word)) throw invalidRequest('sql: only a SELECT can be sent');
  let depth = 0;
  for (const [i, { kind, text, name }] of tokens.entries()) {
    if ('([{'.includes(text)) depth += 1;
    if (')]}'.includes(text)) depth -= 1;
    if (name.startsWith(markerPrefix)) throw invalidRequest(`sql: names that begin with ${markerPrefix} are reserved`);
    if (takesAggregate(name)) {
      let first = i + 1;
      while (tokens[first]?.text === '(') first += 1;
      if (tokens[first]?.text === '{') throw refusedSql(notWrittenOut(name));
    }
    if (kind !== 'word') continue;
    const next = tokens[i + 1];
    const upper = text.toUpperCase();
    if (upper === 'INTO' && next?.text.toUpperCase() === 'OUTFILE')
      throw invalidRequest('sql: INTO OUTFILE cannot be used');
    if (upper === 'PARALLEL' && next?.text.toUpperCase() === 'WITH')
      throw invalidRequest('sql: PARALLEL WITH cannot be used');
    if (upper === 'SETTINGS' && next?.kind === 'word' && tokens[i + 2]?.text === '=') {
      throw invalidRequest('sql: SETTINGS cannot be given with SQL');
    }
    const isLast = tokens[i + 2] === undefined || tokens[i + 2]?.text.toUpperCase() === 'SETTINGS';
    if (upper === 'FORMAT' && depth === 0 && next?.kind === 'word' && isLast && !/^(?:asc|desc)$/i.test(next.text)) {
      throw invalidRequest('sql: leave FORMAT out, and say format beside the SQL or in Accept');
    }
  }
}

/** Of `{name:Type}`. One that stands for a name could be any table. */
function collectParams(tokens: Token[]): Map<string, string> {
  const params = new Map<string, string>();
  for (const [i, { text }] of tokens.entries()) {
    if (text !== '{' || tokens[i + 1]?.kind !== 'param') continue;
    const name = tokens[i + 1]?.name ?? '';
    let type = '';
    for (let at = i + 3; at < tokens.length && tokens[at]?.text !== '}'; at += 1) {
      type += tokens[at]?.text ?? '';
      if (!/identifier/i.test(tokens[at]?.text ?? '')) continue;
      throw invalidRequest(`sql: the parameter ${name} is an Identifier; parameters are values, not names`);
    }
    if (name.startsWith('_')) throw invalidRequest(`sql: the parameter ${name} begins with _, which is reserved`);
    params.set(name, type);
  }
  return params;
}

/** Values as the SQL's parameters. Throws TimestoreError `invalid-request`, `limit-exceeded`. */
export function boundParams({ params }: CompiledSql, sent: Record<string, unknown>, limits: Limits): Settings {
  const names = Object.keys(sent);
  if (names.length > limits.sql_params_max) {
    throw limitExceeded(`params: at most ${limits.sql_params_max} parameters (limit sql_params_max)`);
  }
  const missing = [...params.keys()].find((name) => !Object.hasOwn(sent, name));
  if (missing !== undefined) throw invalidRequest(`params: the SQL has a parameter ${missing}, which was not sent`);
  const settings: Settings = {};
  for (const [name, value] of Object.entries(sent)) {
    const type = params.get(name);
    if (type === undefined) throw invalidRequest(`params: the SQL has no parameter ${name}`);
    const written = paramText(timeParam(type, value));
    if (written === undefined)
      throw invalidRequest(
        `params: ${name} is neither a value nor a list of values (integers beyond 2^53 come as strings)`,
      );
    if (Buffer.byteLength(written) > limits.sql_param_bytes_max) {
      throw limitExceeded(
        `params: ${name} is longer than ${limits.sql_param_bytes_max} bytes (limit sql_param_bytes_max)`,
      );
    }
    settings[`param_${name}`] = written;
  }
  return settings;
}
