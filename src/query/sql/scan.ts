import type { Token } from './lex.ts';

/** A use of a table in SQL. */
export type TableUse = {
  /** The tokens from `first` to `last` are its name. */
  first: number;
  last: number;
  /** `[table]` or `[dataset, table]`. */
  parts: string[];
  /** `in` for an operand of IN, which may also be a column and takes no alias. */
  place: 'from' | 'in';
  hasAlias: boolean;
};

/** A SELECT and the sources of its FROM, by alias. */
export type Select = {
  parent: Select | undefined;
  sources: { name: string; use: TableUse | undefined }[];
};

/** The content of two brackets, or the whole SQL. */
type Group = {
  parent: Group | undefined;
  select: Select;
  /** The brackets are in the place of a table. */
  isTable: boolean;
  /** The next brackets are the arguments of a table function. */
  callsTable: boolean;
  /** The word before the brackets. */
  of: string;
  isQuery: boolean;
  /** At the start of a SELECT, where WITH may follow. */
  atStart: boolean;
  inWith: boolean;
  isRecursive: boolean;
  inFrom: boolean;
  expectsTable: boolean;
  /** Commas separate tables, not the columns of USING or ARRAY JOIN. */
  commasSeparateTables: boolean;
  ctes: Set<string>;
  /** The common table expression that this group defines. */
  defines: string | undefined;
};

const endsFrom = new Set(
  'WHERE PREWHERE GROUP HAVING ORDER LIMIT WINDOW QUALIFY SETTINGS FORMAT OFFSET FETCH INTO SELECT'.split(' '),
);
const setOperations = new Set(['UNION', 'EXCEPT', 'INTERSECT']);
/** Keywords that may follow a table without an alias. */
const notAliases = new Set([
  ...endsFrom,
  ...setOperations,
  ...'ON USING JOIN INNER LEFT RIGHT FULL CROSS OUTER ANY ALL ASOF SEMI ANTI ONLY PASTE NATURAL ARRAY'.split(' '),
  ...'GLOBAL LOCAL FINAL SAMPLE STREAM WITH AND OR THEN ELSE END WHEN IS NOT IN BETWEEN LIKE ILIKE AS ASC DESC'.split(
    ' ',
  ),
]);

/**
 * Finds the table names in SQL: after FROM and JOIN, between the commas there, and after IN, except names of common table
 * expressions. `checkTree` detects errors of this scan, because it compares what ClickHouse reads before and after the
 * replacement of the names.
 */
export function tablesIn(tokens: Token[]): TableUse[] {
  return scan(tokens).uses;
}

export type Scanned = {
  uses: TableUse[];
  /** The SELECT that each token belongs to. */
  selects: (Select | undefined)[];
  /** Operands of IN that are columns, as `alias.column` with the alias of a source. */
  columns: Set<string>;
};

export function scan(tokens: Token[]): Scanned {
  const uses: TableUse[] = [];
  const selects: (Select | undefined)[] = [];
  let group = newGroup(undefined, '');
  group.isQuery = true;
  for (let i = 0; i < tokens.length; i += 1) {
    const token = tokens[i];
    if (token === undefined) break;
    selects[i] = group.select;
    if (token.kind === 'sign') {
      if (token.text === '(' || token.text === '[' || token.text === '{') group = enter(group, tokens, i);
      else if (token.text === ')' || token.text === ']' || token.text === '}') group = leave(group, tokens, i);
      else if (token.text === ',' && group.inFrom && group.commasSeparateTables) group.expectsTable = true;
      continue;
    }
    if (token.kind !== 'word' && token.kind !== 'name') {
      group.expectsTable = false;
      continue;
    }
    if (group.expectsTable && !isClause(token)) {
      const last = endOfPath(tokens, i);
      group.expectsTable = false;
      if (tokens[last + 1]?.text === '(') group.callsTable = true;
      else use(uses, tokens, group, i, last, 'from');
      i = last;
      continue;
    }
    if (token.kind === 'word') i = onWord(uses, tokens, group, i);
  }
  const isColumn = (each: TableUse) => each.place === 'in' && hasColumn(selects[each.first], each.parts);
  const columns = uses.filter(isColumn).map(({ parts }) => parts.join('.'));
  return { uses: uses.filter((each) => !isColumn(each)), selects, columns: new Set(columns) };
}

/** Whether a name begins with the alias of a source of a SELECT or of an enclosing SELECT. */
function hasColumn(select: Select | undefined, [alias, ...more]: string[]): boolean {
  if (select === undefined || more.length === 0) return false;
  return select.sources.some(({ name }) => name === alias) || hasColumn(select.parent, [alias ?? '', ...more]);
}

/** Handles a keyword. Returns the last token that was consumed. */
function onWord(uses: TableUse[], tokens: Token[], group: Group, i: number): number {
  const word = tokens[i]?.text.toUpperCase() ?? '';
  const before = tokens[i - 1]?.text.toUpperCase();
  // A word beside a dot is a part of a name, not a keyword.
  if (before === '.' || tokens[i + 1]?.text === '.') return i;
  if (word === 'IN' && group.of !== 'POSITION') return onIn(uses, tokens, group, i);
  if (!group.isQuery) return i;
  if (word === 'WITH' && group.atStart) {
    group.inWith = true;
  } else if (word === 'RECURSIVE' && before === 'WITH') {
    group.isRecursive = true;
  } else if (word === 'FROM') {
    if (isFromOfTables(before, tokens[i - 2]?.text.toUpperCase())) {
      Object.assign(group, { inFrom: true, expectsTable: true, commasSeparateTables: true, inWith: false });
    }
  } else if (word === 'JOIN') {
    const isArray = before === 'ARRAY';
    Object.assign(group, { expectsTable: !isArray, commasSeparateTables: !isArray });
  } else if (word === 'USING') {
    group.commasSeparateTables = false;
  } else if (endsFrom.has(word)) {
    Object.assign(group, { inFrom: false, inWith: false });
  }
  if (setOperations.has(word)) {
    Object.assign(group, { inFrom: false, atStart: true });
    if (isBeforeSelect(tokens, i)) group.select = newSelect(group.select.parent);
  } else if (!['WITH', 'ALL', 'DISTINCT'].includes(word)) group.atStart = false;
  return i;
}

/** Tells the set operation EXCEPT from `* EXCEPT (columns)`. */
function isBeforeSelect(tokens: Token[], i: number): boolean {
  let at = i + 1;
  while (['(', 'ALL', 'DISTINCT'].includes(tokens[at]?.text.toUpperCase() ?? '')) at += 1;
  const next = tokens[at];
  return next !== undefined && isClause(next);
}

/** Tells FROM from `IS NOT DISTINCT FROM` and `WITH FILL FROM`. */
function isFromOfTables(before: string | undefined, beforeThat: string | undefined): boolean {
  if (before === 'DISTINCT') return beforeThat !== 'IS' && beforeThat !== 'NOT';
  return before !== 'FILL' || beforeThat !== 'WITH';
}

function onIn(uses: TableUse[], tokens: Token[], group: Group, i: number): number {
  // A single name in brackets means the name.
  let first = i + 1;
  while (tokens[first]?.text === '(') first += 1;
  const brackets = first - i - 1;
  const token = tokens[first];
  if (token?.kind !== 'word' && token?.kind !== 'name') return i;
  const last = endOfPath(tokens, first);
  const closed = tokens.slice(last + 1, last + 1 + brackets).every(({ text }) => text === ')');
  if (tokens[last + 1]?.text === '(' || !closed || isClause(token)) return i;
  use(uses, tokens, group, first, last, 'in');
  return i;
}

function use(uses: TableUse[], tokens: Token[], group: Group, first: number, last: number, place: TableUse['place']) {
  const parts = tokens.slice(first, last + 1).filter(({ text }) => text !== '.');
  const names = parts.map(({ name }) => name);
  const name = names.at(-1) ?? '';
  const alias = place === 'from' ? aliasAfter(tokens, last) : undefined;
  const isCteUse = names.length === 1 && isCte(group, name);
  const found = { first, last, parts: names, place, hasAlias: alias !== undefined };
  if (!isCteUse) uses.push(found);
  if (place === 'from') group.select.sources.push({ name: alias ?? name, use: isCteUse ? undefined : found });
}

/** The alias after a token. */
function aliasAfter(tokens: Token[], last: number): string | undefined {
  const next = tokens[last + 1];
  if (next?.kind === 'name') return next.name;
  if (next?.kind !== 'word' || (next.text.toUpperCase() !== 'AS' && notAliases.has(next.text.toUpperCase()))) return;
  return next.text.toUpperCase() === 'AS' ? (tokens[last + 2]?.name ?? '') : next.name;
}

/** Whether a name is a common table expression here. In its own definition it is one only if it is recursive. */
function isCte(group: Group, name: string): boolean {
  const within = new Set<string>();
  for (let at: Group | undefined = group; at !== undefined; at = at.parent) {
    if (at.ctes.has(name) && (!within.has(name) || at.isRecursive)) return true;
    if (at.defines !== undefined) within.add(at.defines);
  }
  return false;
}

function enter(group: Group, tokens: Token[], i: number): Group {
  const before = tokens[i - 1];
  const inner = newGroup(group, before?.kind === 'word' ? before.text.toUpperCase() : '');
  inner.isTable = group.expectsTable || group.callsTable;
  group.callsTable = false;
  let at = i + 1;
  while (tokens[at]?.text === '(') at += 1;
  const first = tokens[at];
  inner.isQuery = first !== undefined && isClause(first);
  if (inner.isQuery) inner.select = newSelect(group.select);
  if (group.expectsTable) {
    // Brackets around a join.
    if (!inner.isQuery)
      Object.assign(inner, { isQuery: true, inFrom: true, expectsTable: true, commasSeparateTables: true });
    group.expectsTable = false;
  }
  if (group.inWith && inner.isQuery) {
    const name = definedName(tokens, i);
    if (name !== undefined) {
      group.ctes.add(name);
      inner.defines = name;
    }
  }
  return inner;
}

/** Registers the alias of a subquery or a table function. */
function leave(group: Group, tokens: Token[], i: number): Group {
  const outer = group.parent ?? group;
  const name = group.isTable ? aliasAfter(tokens, i) : undefined;
  if (name !== undefined) outer.select.sources.push({ name, use: undefined });
  return outer;
}

/** The name in `name AS (` or `name (columns) AS (`. */
function definedName(tokens: Token[], i: number): string | undefined {
  let at = i - 1;
  while (['MATERIALIZED', 'NOT'].includes(tokens[at]?.text.toUpperCase() ?? '')) at -= 1;
  if (tokens[at]?.text.toUpperCase() !== 'AS') return undefined;
  at -= 1;
  if (tokens[at]?.text === ')') {
    while (at > 0 && tokens[at]?.text !== '(') at -= 1;
    at -= 1;
  }
  const token = tokens[at];
  return token?.kind === 'word' || token?.kind === 'name' ? token.name : undefined;
}

function endOfPath(tokens: Token[], first: number): number {
  let last = first;
  while (tokens[last + 1]?.text === '.' && ['word', 'name'].includes(tokens[last + 2]?.kind ?? '')) last += 2;
  return last;
}

function isClause({ kind, text }: Token): boolean {
  return kind === 'word' && ['SELECT', 'WITH', 'FROM'].includes(text.toUpperCase());
}

function newGroup(parent: Group | undefined, of: string): Group {
  return {
    parent,
    of,
    isQuery: false,
    atStart: true,
    inWith: false,
    isRecursive: false,
    inFrom: false,
    select: parent?.select ?? newSelect(undefined),
    isTable: false,
    callsTable: false,
    expectsTable: false,
    commasSeparateTables: true,
    ctes: new Set(),
    defines: undefined,
  };
}

function newSelect(parent: Select | undefined): Select {
  return { parent, sources: [] };
}
