import { isAllowedAggregate, isAllowedFunction, isAllowedTableFunction, takesAggregate } from './allowed-functions.ts';
import { deniedReason } from './denied-functions.ts';
import { rejectedSql } from './lex.ts';
import type { TableUse } from './scan.ts';

/** The name in place of the n-th table of a query while ClickHouse explains it. */
export function tableMarker(n: number): string {
  return `${markerPrefix}${n}`;
}

export const markerPrefix = '__ts_';

/** The table that a SELECT without FROM reads. */
const noTable = 'system.one';

/**
 * Checks what ClickHouse would read. Both trees are from `EXPLAIN QUERY TREE` without passes, which runs nothing: `before` of
 * the query, `after` of the query with markers in place of its tables. The trees must be equal but for the markers, each
 * marker must be in the place of a table, and nothing else may be there. Unknown nodes are rejected.
 *
 * @param columns operands of IN that are columns, as `alias.column`
 * @throws ApiError `invalid-request`
 */
export function checkTree(before: string[], after: string[], uses: TableUse[], columns = new Set<string>()): void {
  // EXPLAIN may print a common table expression at each of its uses.
  const found = new Set<number>();
  const names = cteNames(after);
  /** The ancestors of the current line, by depth. */
  const above: Line[] = [];
  let last: Line | undefined;
  for (const [i, text] of after.entries()) {
    if (isEndOfEmptyList(text, last) && text === before[i]) continue;
    const line = readLine(text);
    above.length = line.depth;
    above[line.depth] = line;
    const marker = markerIn(text);
    if (marker === undefined) {
      if (text !== before[i]) throw unclearSql();
    } else {
      const use = uses[marker];
      if (use === undefined || before[i] !== unmarked(text, use)) throw unclearSql();
      found.add(marker);
    }
    const isFirst = above[line.depth - 1] === last;
    checkLine(line, above, { tables: names, columns }, isFirst);
    if (isFirst) checkFirstArgument(line, above);
    last = line;
  }
  if (before.length !== after.length || found.size !== uses.length) throw unclearSql();
}

type Line = { depth: number; kind: string; rest: string };

const kinds =
  /^(QUERY|UNION|IDENTIFIER|MATCHER|FUNCTION|LIST|CONSTANT|LAMBDA|SORT|INTERPOLATE|WINDOW|JOIN|CROSS JOIN|ARRAY_JOIN|TABLE_FUNCTION|(?:EXCEPT|REPLACE|APPLY) COLUMN TRANSFORMER) id: [0-9]+(.*)$/s;
const tablePlaces = /^(?:JOIN TREE|(?:LEFT |RIGHT )?TABLE EXPRESSION(?: [0-9]+)?)$/;
const otherPlaces =
  /^(?:WITH|PROJECTION|WHERE|GROUP BY|HAVING|QUALIFY|WINDOW|ORDER BY|PARTITION BY|LIMIT BY LIMIT|LIMIT BY OFFSET|LIMIT BY|LIMIT|OFFSET|ARGUMENTS|PARAMETERS|JOIN EXPRESSIONS?|QUERIES|INTERPOLATE|INTERPOLATE_EXPRESSION|FILL FROM|FILL TO|FILL STEP|FILL STALENESS|FRAME BEGIN OFFSET|FRAME END OFFSET|EXPRESSION.*|REPLACEMENTS [0-9]+|REPLACEMENT NAME .* EXPRESSION)$/s;

/** EXPLAIN prints an empty line for a list without nodes. */
function isEndOfEmptyList(text: string, last: Line | undefined): boolean {
  return text.trim() === '' && last?.kind === 'LIST' && last.rest === ', nodes: 0';
}

/** `kind` is that of a node, or `table` or `other` for a label before nodes. */
function readLine(text: string): Line {
  const rest = text.trimStart();
  const depth = (text.length - rest.length) / 2;
  const trimmed = rest.trimEnd();
  const [, kind, more] = kinds.exec(trimmed) ?? [];
  if (kind !== undefined) return { depth, kind, rest: more ?? '' };
  if (tablePlaces.test(trimmed)) return { depth, kind: 'table', rest: '' };
  if (otherPlaces.test(trimmed)) return { depth, kind: 'other', rest: trimmed };
  if (trimmed.startsWith('PREWHERE')) throw rejectedSql('PREWHERE is not allowed: use WHERE');
  if (trimmed.startsWith('SETTINGS')) throw rejectedSql('SETTINGS is not allowed');
  throw unclearSql();
}

/** Names that the SQL defines: common table expressions, and columns that are operands of IN. */
type OwnNames = { tables: Set<string>; columns: Set<string> };

function checkLine({ depth, kind, rest }: Line, above: Line[], names: OwnNames, isFirst: boolean): void {
  switch (kind) {
    case 'IDENTIFIER':
      checkIdentifier(rest, depth, above, names, isFirst);
      break;
    case 'FUNCTION': {
      const [, name] = /, function_name: ([^,]*), function_type: [a-z]+(?:, nulls_action : [A-Z_]+)?$/.exec(rest) ?? [];
      if (name === undefined) throw unclearSql();
      if (!isAllowedFunction(name)) throw rejectedFunction(name);
      break;
    }
    case 'TABLE_FUNCTION': {
      const [, name] = /, table_function_name: ([^,]*)$/.exec(rest) ?? [];
      if (name === undefined) throw unclearSql();
      if (!isAllowedTableFunction(name)) throw rejectedSql(`Table function ${name} is not allowed`);
      break;
    }
    default:
  }
}

/**
 * Databases that the ClickHouse user may read, and system databases. ClickHouse takes `alias.column` after IN for a table of
 * the database `alias` where no source has that column: the alias must not be one of these.
 */
const databases = /^(?:_.*|ts_.*|timestore|system|information_schema|default)(?:\.|$)/is;

function checkIdentifier(rest: string, depth: number, above: Line[], names: OwnNames, isFirst: boolean): void {
  const [, name, modifiers] = /^(?:, alias: .*)?, identifier: (.*?)(, final: .*)?$/s.exec(rest) ?? [];
  if (name === undefined) throw unclearSql();
  if (modifiers !== undefined) throw rejectedSql('FINAL and SAMPLE are not allowed');
  if (above.some((line, i) => i < depth && line.kind === 'TABLE_FUNCTION' && isTableFunctionArgument(above, i))) {
    throw rejectedSql('The arguments of a table function must be values, not names');
  }
  const isMarker = name.startsWith(markerPrefix);
  const isCte = !name.includes('.') && names.tables.has(name);
  if (above[depth - 1]?.kind === 'table') {
    if (isMarker || isCte || name === noTable) return;
    throw rejectedSql(`${name} is not a known table; name tables as table or dataset.table after FROM and JOIN`);
  }
  // The left operand of IN is a value.
  const isValue = isFirst && !rest.startsWith(', alias');
  if (!isValue && isOperandOfIn(depth, above)) {
    if (isMarker || !name.includes('.')) return;
    if (names.columns.has(name) && !databases.test(name)) return;
    throw rejectedSql(`The right side of IN must be a list, a subquery or a table, not ${name}`);
  }
  if (isMarker) throw unclearSql();
}

/**
 * The first argument of some functions is a string with the name of an aggregate function and its parameters. EXPLAIN prints
 * a parameter of the SQL like a literal, so that `compileSql` rejects parameters there.
 */
function checkFirstArgument({ depth, kind, rest }: Line, above: Line[]): void {
  const caller = above[depth - 3];
  const [, name] = (caller?.kind === 'FUNCTION' && /, function_name: ([^,]*), /.exec(caller.rest)) || [];
  if (name === undefined || !takesAggregate(name) || above[depth - 2]?.rest !== 'ARGUMENTS') return;
  const [, aggregate] =
    /, constant_value: '([A-Za-z0-9_]+)(?:\(.*\))?', constant_value_type: String$/s.exec(rest) ?? [];
  if (kind !== 'CONSTANT' || aggregate === undefined) {
    throw rejectedSql(requiresLiteral(name));
  }
  if (!isAllowedAggregate(aggregate.toLowerCase())) throw rejectedFunction(aggregate);
}

function rejectedFunction(name: string) {
  const reason = deniedReason(name);
  return rejectedSql(`Function ${name} is not allowed${reason === undefined ? '' : `: it ${reason}`}`);
}

export function requiresLiteral(name: string): string {
  return `Function ${name} takes the name of an aggregate function as a string literal`;
}

/** Whether the current line is an argument of the table function at this depth. */
function isTableFunctionArgument(above: Line[], i: number): boolean {
  // Names in a subquery of the arguments are checked by themselves.
  return above[i + 1]?.rest === 'ARGUMENTS' && !above.slice(i + 1).some(({ kind }) => kind === 'QUERY');
}

/** Whether a name is an operand of IN, which may be a table. */
function isOperandOfIn(depth: number, above: Line[]): boolean {
  const caller = above[depth - 3];
  return (
    above[depth - 1]?.kind === 'LIST' &&
    above[depth - 2]?.rest === 'ARGUMENTS' &&
    caller?.kind === 'FUNCTION' &&
    /, function_name: (?:global)?(?:not)?(?:null)?in(?:ignoreset)?, /i.test(caller.rest)
  );
}

function cteNames(lines: string[]): Set<string> {
  const names = lines.map((line) => /^ *(?:QUERY|UNION) id: .*, cte_name: ([^,]*)/.exec(line)?.[1]);
  return new Set(names.filter((name) => name !== undefined));
}

const marked = new RegExp(`^( *IDENTIFIER id: [0-9]+)(, alias: (.*))?, identifier: ${markerPrefix}([0-9]+)$`, 's');

function markerIn(text: string): number | undefined {
  if (!text.includes(markerPrefix)) return undefined;
  const n = marked.exec(text)?.[4];
  if (n === undefined && /, final: [01]/.test(text)) throw rejectedSql('FINAL and SAMPLE are not allowed');
  if (n === undefined) throw unclearSql();
  return Number(n);
}

/** The line before the replacement. A table without an alias got its name as the alias. */
function unmarked(text: string, { parts, place, hasAlias }: TableUse): string {
  const [, head = '', alias = '', aliasName] = marked.exec(text) ?? [];
  const path = parts.join('.');
  if (place === 'in' || hasAlias) return `${head}${alias}, identifier: ${path}`;
  return aliasName === parts.at(-1) ? `${head}, identifier: ${path}` : '';
}

function unclearSql() {
  return rejectedSql(
    'The SQL is ambiguous and was not run; name tables as table or dataset.table after FROM and JOIN, each with its own alias',
  );
}
