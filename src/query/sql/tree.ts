import { isAllowedAggregate, isAllowedFunction, isAllowedTableFunction, takesAggregate } from './allowed-functions.ts';
import { deniedReason } from './denied-functions.ts';
import { refusedSql } from './lex.ts';
import type { TableUse } from './scan.ts';

/** What stands for the n-th table that a query uses, while ClickHouse is asked what it reads. */
export function tableMarker(n: number): string {
  return `${markerPrefix}${n}`;
}

export const markerPrefix = '__ts_';

/** What a FROM that is not there reads. */
const noTable = 'system.one';

/**
 * Holds what ClickHouse reads in a query against what may be read. Both trees are its own (`EXPLAIN QUERY TREE` without
 * any pass, which runs nothing): of the query as it came, and of the query with markers in the place of its tables. They
 * must be the same but for the markers, each at a place where a table stands, and nothing else may stand at such a place.
 * What is not known is refused.
 *
 * @param columns that IN looks into, by their alias and name
 * @throws TimestoreError `invalid-request` naming what is not allowed
 */
export function checkTree(before: string[], after: string[], uses: TableUse[], columns = new Set<string>()): void {
  // A common table expression may be shown where it is used, more than once.
  const found = new Set<number>();
  const names = cteNames(after);
  /** The lines above the one at hand, by their depth. */
  const above: Line[] = [];
  let last: Line | undefined;
  for (const [i, text] of after.entries()) {
    if (isEndOfEmptyList(text, last) && text === before[i]) continue;
    const line = readLine(text);
    above.length = line.depth;
    above[line.depth] = line;
    const marker = markerIn(text);
    if (marker === undefined) {
      if (text !== before[i]) throw notUnderstood();
    } else {
      const use = uses[marker];
      if (use === undefined || before[i] !== unmarked(text, use)) throw notUnderstood();
      found.add(marker);
    }
    const isFirst = above[line.depth - 1] === last;
    checkLine(line, above, { tables: names, columns }, isFirst);
    if (isFirst) checkFirst(line, above);
    last = line;
  }
  if (before.length !== after.length || found.size !== uses.length) throw notUnderstood();
}

type Line = { depth: number; kind: string; rest: string };

const kinds =
  /^(QUERY|UNION|IDENTIFIER|MATCHER|FUNCTION|LIST|CONSTANT|LAMBDA|SORT|INTERPOLATE|WINDOW|JOIN|CROSS JOIN|ARRAY_JOIN|TABLE_FUNCTION|(?:EXCEPT|REPLACE|APPLY) COLUMN TRANSFORMER) id: [0-9]+(.*)$/s;
const tablePlaces = /^(?:JOIN TREE|(?:LEFT |RIGHT )?TABLE EXPRESSION(?: [0-9]+)?)$/;
const otherPlaces =
  /^(?:WITH|PROJECTION|WHERE|GROUP BY|HAVING|QUALIFY|WINDOW|ORDER BY|PARTITION BY|LIMIT BY LIMIT|LIMIT BY OFFSET|LIMIT BY|LIMIT|OFFSET|ARGUMENTS|PARAMETERS|JOIN EXPRESSIONS?|QUERIES|INTERPOLATE|INTERPOLATE_EXPRESSION|FILL FROM|FILL TO|FILL STEP|FILL STALENESS|FRAME BEGIN OFFSET|FRAME END OFFSET|EXPRESSION.*|REPLACEMENTS [0-9]+|REPLACEMENT NAME .* EXPRESSION)$/s;

/** A list without nodes has a line of its own for them, with nothing on it. */
function isEndOfEmptyList(text: string, last: Line | undefined): boolean {
  return text.trim() === '' && last?.kind === 'LIST' && last.rest === ', nodes: 0';
}

/** `kind` is of a node, `table` or `other` of a place where nodes stand. */
function readLine(text: string): Line {
  const rest = text.trimStart();
  const depth = (text.length - rest.length) / 2;
  const trimmed = rest.trimEnd();
  const [, kind, more] = kinds.exec(trimmed) ?? [];
  if (kind !== undefined) return { depth, kind, rest: more ?? '' };
  if (tablePlaces.test(trimmed)) return { depth, kind: 'table', rest: '' };
  if (otherPlaces.test(trimmed)) return { depth, kind: 'other', rest: trimmed };
  if (trimmed.startsWith('PREWHERE')) throw refusedSql('PREWHERE cannot be used: write WHERE');
  if (trimmed.startsWith('SETTINGS')) throw refusedSql('SETTINGS cannot be given with SQL');
  throw notUnderstood();
}

/** Names of the SQL's own: of common table expressions, and of columns that IN looks into. */
type OwnNames = { tables: Set<string>; columns: Set<string> };

function checkLine({ depth, kind, rest }: Line, above: Line[], names: OwnNames, isFirst: boolean): void {
  switch (kind) {
    case 'IDENTIFIER':
      checkIdentifier(rest, depth, above, names, isFirst);
      break;
    case 'FUNCTION': {
      const [, name] = /, function_name: ([^,]*), function_type: [a-z]+(?:, nulls_action : [A-Z_]+)?$/.exec(rest) ?? [];
      if (name === undefined) throw notUnderstood();
      if (!isAllowedFunction(name)) throw refusedFunction(name);
      break;
    }
    case 'TABLE_FUNCTION': {
      const [, name] = /, table_function_name: ([^,]*)$/.exec(rest) ?? [];
      if (name === undefined) throw notUnderstood();
      if (!isAllowedTableFunction(name)) throw refusedSql(`The table function ${name} is not available`);
      break;
    }
    default:
  }
}

/**
 * Databases that the reader may read by its grants, and those that a server has of itself. Where nothing in a FROM has such a
 * column, ClickHouse takes `alias.column` after IN for a table of the database `alias`: none of these may be meant.
 */
const databases = /^(?:_.*|ts_.*|timestore|system|information_schema|default)(?:\.|$)/is;

function checkIdentifier(rest: string, depth: number, above: Line[], names: OwnNames, isFirst: boolean): void {
  const [, name, modifiers] = /^(?:, alias: .*)?, identifier: (.*?)(, final: .*)?$/s.exec(rest) ?? [];
  if (name === undefined) throw notUnderstood();
  if (modifiers !== undefined) throw refusedSql('FINAL and SAMPLE cannot be used');
  if (above.some((line, i) => i < depth && line.kind === 'TABLE_FUNCTION' && isTableFunctionArgument(above, i))) {
    throw refusedSql('A table function takes values, not names');
  }
  const isMarker = name.startsWith(markerPrefix);
  const isCte = !name.includes('.') && names.tables.has(name);
  if (above[depth - 1]?.kind === 'table') {
    if (isMarker || isCte || name === noTable) return;
    throw refusedSql(
      `${name} is not a table that can be read here; name tables as table or dataset.table after FROM and JOIN`,
    );
  }
  // What is looked for, on the left, is a value.
  const isValue = isFirst && !rest.startsWith(', alias');
  if (!isValue && isLookedUpIn(depth, above)) {
    if (isMarker || !name.includes('.')) return;
    if (names.columns.has(name) && !databases.test(name)) return;
    throw refusedSql(`IN takes a list, a subquery or a table, not ${name}`);
  }
  if (isMarker) throw notUnderstood();
}

/**
 * The first argument of some functions is the name of another one, as a text, with its parameters in brackets. A parameter
 * of the SQL looks like a text that is written out, and is refused where the SQL is read.
 */
function checkFirst({ depth, kind, rest }: Line, above: Line[]): void {
  const called = above[depth - 3];
  const [, name] = (called?.kind === 'FUNCTION' && /, function_name: ([^,]*), /.exec(called.rest)) || [];
  if (name === undefined || !takesAggregate(name) || above[depth - 2]?.rest !== 'ARGUMENTS') return;
  const [, aggregate] =
    /, constant_value: '([A-Za-z0-9_]+)(?:\(.*\))?', constant_value_type: String$/s.exec(rest) ?? [];
  if (kind !== 'CONSTANT' || aggregate === undefined) {
    throw refusedSql(notWrittenOut(name));
  }
  if (!isAllowedAggregate(aggregate.toLowerCase())) throw refusedFunction(aggregate);
}

function refusedFunction(name: string) {
  const reach = deniedReason(name);
  return refusedSql(`The function ${name} is not available${reach === undefined ? '' : `: it ${reach}`}`);
}

export function notWrittenOut(name: string): string {
  return `The function ${name} takes the name of an aggregate function as a text, written out`;
}

/** Whether what is below belongs to the arguments of the table function at this depth. */
function isTableFunctionArgument(above: Line[], i: number): boolean {
  // A query among the arguments has names of its own, which are checked as such.
  return above[i + 1]?.rest === 'ARGUMENTS' && !above.slice(i + 1).some(({ kind }) => kind === 'QUERY');
}

/** Whether a name is what IN looks into: there, a table may stand. */
function isLookedUpIn(depth: number, above: Line[]): boolean {
  const called = above[depth - 3];
  return (
    above[depth - 1]?.kind === 'LIST' &&
    above[depth - 2]?.rest === 'ARGUMENTS' &&
    called?.kind === 'FUNCTION' &&
    /, function_name: (?:global)?(?:not)?(?:null)?in(?:ignoreset)?, /i.test(called.rest)
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
  if (n === undefined && /, final: [01]/.test(text)) throw refusedSql('FINAL and SAMPLE cannot be used');
  if (n === undefined) throw notUnderstood();
  return Number(n);
}

/** The line as it was before the table's name became a marker. A table without an alias was given its name as one. */
function unmarked(text: string, { parts, place, hasAlias }: TableUse): string {
  const [, head = '', alias = '', aliasName] = marked.exec(text) ?? [];
  const path = parts.join('.');
  if (place === 'in' || hasAlias) return `${head}${alias}, identifier: ${path}`;
  return aliasName === parts.at(-1) ? `${head}, identifier: ${path}` : '';
}

function notUnderstood() {
  return refusedSql(
    'The SQL is not understood for certain and was not run; name tables as table or dataset.table after FROM and JOIN, each with an alias of its own',
  );
}
