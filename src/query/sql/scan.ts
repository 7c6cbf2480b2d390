import type { Token } from './lex.ts';

/** A place where SQL names a table: which tokens, and by what name the rest of the SQL knows it. */
export type TableUse = {
  /** Tokens from `first` to `last`. */
  first: number;
  last: number;
  /** The name, or the dataset and the name. */
  parts: string[];
  /** `in` for what is looked up with IN, which may be an alias or a column too, and takes no alias. */
  place: 'from' | 'in';
  hasAlias: boolean;
};

/** A SELECT, with what stands in its FROM, by the names that the rest of it may use. */
export type Select = {
  parent: Select | undefined;
  sources: { name: string; use: TableUse | undefined }[];
};

/** What is between two brackets, or the SQL as a whole. */
type Group = {
  parent: Group | undefined;
  select: Select;
  /** What is between the brackets stands where a table may. */
  isTable: boolean;
  /** The brackets that follow are arguments of a function that makes a table. */
  callsTable: boolean;
  /** The function whose arguments they are. */
  of: string;
  isQuery: boolean;
  /** At the beginning of a SELECT, where a WITH clause may stand. */
  atStart: boolean;
  inWith: boolean;
  isRecursive: boolean;
  inFrom: boolean;
  expectsTable: boolean;
  /** Commas separate tables, and not what is joined on or over. */
  commasCount: boolean;
  ctes: Set<string>;
  /** The one that this is the definition of. */
  defines: string | undefined;
};

const endsFrom = new Set(
  'WHERE PREWHERE GROUP HAVING ORDER LIMIT WINDOW QUALIFY SETTINGS FORMAT OFFSET FETCH INTO SELECT'.split(' '),
);
const setOperations = new Set(['UNION', 'EXCEPT', 'INTERSECT']);
/** What may follow a table that has no alias. */
const notAliases = new Set([
  ...endsFrom,
  ...setOperations,
  ...'ON USING JOIN INNER LEFT RIGHT FULL CROSS OUTER ANY ALL ASOF SEMI ANTI ONLY PASTE NATURAL ARRAY'.split(' '),
  ...'GLOBAL LOCAL FINAL SAMPLE STREAM WITH AND OR THEN ELSE END WHEN IS NOT IN BETWEEN LIKE ILIKE AS ASC DESC'.split(
    ' ',
  ),
]);

/**
 * Finds the tables that SQL names, where its grammar has them: after FROM and JOIN, between the commas there, and after
 * IN. Names that common table expressions have at that place are left out. What this gets wrong is found by comparing
 * what ClickHouse reads before and after the names are replaced.
 */
export function tablesIn(tokens: Token[]): TableUse[] {
  return scan(tokens).uses;
}

/** What `scan` finds. */
export type Scanned = {
  uses: TableUse[];
  /** The SELECT that each token belongs to. */
  selects: (Select | undefined)[];
  /** Columns that IN looks into, as `alias.column`: the alias is that of something in FROM. */
  columns: Set<string>;
};

/** The tables, and what else stands at such a place. */
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
      else if (token.text === ',' && group.inFrom && group.commasCount) group.expectsTable = true;
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

/** Whether a name begins with the alias of what a SELECT, or one around it, has in its FROM. */
function hasColumn(select: Select | undefined, [alias, ...more]: string[]): boolean {
  if (select === undefined || more.length === 0) return false;
  return select.sources.some(({ name }) => name === alias) || hasColumn(select.parent, [alias ?? '', ...more]);
}

/** A word that has a meaning in a query. Answers with the last token that was looked at. */
function onWord(uses: TableUse[], tokens: Token[], group: Group, i: number): number {
  const word = tokens[i]?.text.toUpperCase() ?? '';
  const before = tokens[i - 1]?.text.toUpperCase();
  // A name after a dot, or before one, is only a name.
  if (before === '.' || tokens[i + 1]?.text === '.') return i;
  if (word === 'IN' && group.of !== 'POSITION') return onIn(uses, tokens, group, i);
  if (!group.isQuery) return i;
  if (word === 'WITH' && group.atStart) {
    group.inWith = true;
  } else if (word === 'RECURSIVE' && before === 'WITH') {
    group.isRecursive = true;
  } else if (word === 'FROM') {
    if (isFromOfTables(before, tokens[i - 2]?.text.toUpperCase())) {
      Object.assign(group, { inFrom: true, expectsTable: true, commasCount: true, inWith: false });
    }
  } else if (word === 'JOIN') {
    const isArray = before === 'ARRAY';
    Object.assign(group, { expectsTable: !isArray, commasCount: !isArray });
  } else if (word === 'USING') {
    group.commasCount = false;
  } else if (endsFrom.has(word)) {
    Object.assign(group, { inFrom: false, inWith: false });
  }
  if (setOperations.has(word)) {
    Object.assign(group, { inFrom: false, atStart: true });
    if (isBeforeSelect(tokens, i)) group.select = newSelect(group.select.parent);
  } else if (!['WITH', 'ALL', 'DISTINCT'].includes(word)) group.atStart = false;
  return i;
}

/** EXCEPT may also follow an asterisk, with columns. */
function isBeforeSelect(tokens: Token[], i: number): boolean {
  let at = i + 1;
  while (['(', 'ALL', 'DISTINCT'].includes(tokens[at]?.text.toUpperCase() ?? '')) at += 1;
  const next = tokens[at];
  return next !== undefined && isClause(next);
}

/** What else has the word: `IS NOT DISTINCT FROM`, and `WITH FILL FROM` of ORDER BY. */
function isFromOfTables(before: string | undefined, beforeThat: string | undefined): boolean {
  if (before === 'DISTINCT') return beforeThat !== 'IS' && beforeThat !== 'NOT';
  return before !== 'FILL' || beforeThat !== 'WITH';
}

function onIn(uses: TableUse[], tokens: Token[], group: Group, i: number): number {
  // One name in brackets is the same as the name.
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
  const isOfSql = names.length === 1 && isCte(group, name);
  const found = { first, last, parts: names, place, hasAlias: alias !== undefined };
  if (!isOfSql) uses.push(found);
  if (place === 'from') group.select.sources.push({ name: alias ?? name, use: isOfSql ? undefined : found });
}

/** The name that is given to what ends with a token. */
function aliasAfter(tokens: Token[], last: number): string | undefined {
  const next = tokens[last + 1];
  if (next?.kind === 'name') return next.name;
  if (next?.kind !== 'word' || (next.text.toUpperCase() !== 'AS' && notAliases.has(next.text.toUpperCase()))) return;
  return next.text.toUpperCase() === 'AS' ? (tokens[last + 2]?.name ?? '') : next.name;
}

/** Whether a name is that of a common table expression here. In its own definition, it is one only where it may be. */
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
    // Brackets around joined tables.
    if (!inner.isQuery) Object.assign(inner, { isQuery: true, inFrom: true, expectsTable: true, commasCount: true });
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

/** Whether what ends here is named: only a name can be meant by what follows. */
function leave(group: Group, tokens: Token[], i: number): Group {
  const outer = group.parent ?? group;
  const name = group.isTable ? aliasAfter(tokens, i) : undefined;
  if (name !== undefined) outer.select.sources.push({ name, use: undefined });
  return outer;
}

/** Of `name AS (`, with or without a list of columns after the name. */
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
    commasCount: true,
    ctes: new Set(),
    defines: undefined,
  };
}

function newSelect(parent: Select | undefined): Select {
  return { parent, sources: [] };
}
