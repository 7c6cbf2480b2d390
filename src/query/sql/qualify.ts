import { quoteName, quoteString } from '../../core/identifiers.ts';
import type { Token } from './lex.ts';
import { type Select, scan, type TableUse } from './scan.ts';

/**
 * Gives each table an alias, because a subquery replaces the table when the SQL runs. Column names of the form
 * `dataset.table.column` get the alias. The alias is the name of the table, unless another table or an expression has that
 * name too.
 *
 * @param dataset the dataset of unqualified table names
 */
export function qualify(tokens: Token[], dataset: string | undefined): Token[] {
  const { uses, selects } = scan(tokens);
  const known = new Map<Select, KnownNames>();
  for (const select of new Set(selects))
    if (select !== undefined) known.set(select, collectKnownNames(select, dataset));
  const owners = findAliasOwners(tokens, known.keys(), dataset);
  const changes: Changes = new Map();
  const aliases = new Map<TableUse, string>();
  for (const use of uses) {
    const select = selects[use.first];
    if (use.place === 'in' || use.hasAlias || select === undefined) continue;
    const alias = fullName(use, dataset);
    if (owners.get(use.parts.at(-1) ?? '') === alias) continue;
    aliases.set(use, alias);
    const at = tokens[use.last];
    if (at !== undefined) changes.set(use.last, { last: use.last, by: [at, wordAt(at, 'AS'), nameAt(at, alias)] });
  }
  // Three names after IN are a column, never a table.
  const firsts = new Set(
    uses.flatMap(({ first, place, parts }) => (place === 'in' && parts.length > 2 ? [] : [first])),
  );
  for (const [i, token] of tokens.entries()) {
    const select = selects[i];
    if (select === undefined || !isPath(tokens, i) || firsts.has(i)) continue;
    const found = resolve(tokens, i, select, known, aliases);
    if (found !== undefined) changes.set(i, { last: found.last, by: [nameAt(token, found.alias)] });
  }
  return withDataset(applyChanges(tokens, changes), dataset);
}

/** Replacements of tokens, by the first token. */
type Changes = Map<number, { last: number; by: Token[] }>;

/** The sources of a SELECT: the first of each name, and for each table the one without an alias before others. */
type KnownNames = { byName: Map<string, Source>; byFullName: Map<string, Source> };

type Source = Select['sources'][number];

function collectKnownNames({ sources }: Select, dataset: string | undefined): KnownNames {
  const known: KnownNames = { byName: new Map(), byFullName: new Map() };
  for (const source of sources) {
    if (!known.byName.has(source.name)) known.byName.set(source.name, source);
    if (source.use === undefined) continue;
    const name = fullName(source.use, dataset);
    const before = known.byFullName.get(name)?.use;
    if (before === undefined || (before.hasAlias && !source.use.hasAlias)) known.byFullName.set(name, source);
  }
  return known;
}

/** `dataset.table`. Neither name can contain a dot. */
function fullName({ parts }: TableUse, dataset: string | undefined): string {
  return (parts.length === 1 && dataset !== undefined ? [dataset, ...parts] : parts).join('.');
}

function applyChanges(tokens: Token[], changes: Changes): Token[] {
  const result: Token[] = [];
  for (let i = 0; i < tokens.length; i += 1) {
    const change = changes.get(i);
    result.push(...(change?.by ?? tokens.slice(i, i + 1)));
    i = change?.last ?? i;
  }
  return result;
}

/**
 * The table that keeps its name as the alias: the first of each name. Undefined where an expression has the name too. Aliases
 * are unique in the whole SQL: an inner SELECT would hide equal names of the outer one.
 */
function findAliasOwners(tokens: Token[], selects: Iterable<Select>, dataset: string | undefined) {
  const owners = new Map<string, string | undefined>();
  for (const { sources } of selects) {
    for (const { name, use } of sources) {
      if (use === undefined) owners.set(name, undefined);
      else if (!owners.has(name)) owners.set(name, fullName(use, dataset));
    }
  }
  for (const [i, token] of tokens.entries()) if (isName(token) && isAlias(tokens, i)) owners.set(token.name, undefined);
  return owners;
}

/** Keywords that an expression or a table follows. */
const beforeNames = new Set(
  'SELECT DISTINCT ALL BY ON AND OR NOT WHERE HAVING QUALIFY IN BETWEEN LIKE ILIKE IS WHEN THEN ELSE CASE WITH FROM JOIN USING LIMIT OFFSET'.split(
    ' ',
  ),
);

/** Whether a name follows AS or an expression. */
function isAlias(tokens: Token[], i: number): boolean {
  const before = tokens[i - 1];
  if (before === undefined || ['.', '('].includes(tokens[i + 1]?.text ?? '')) return false;
  if (before.kind === 'word') {
    return !beforeNames.has(before.text.toUpperCase());
  }
  return ['name', 'string', 'number'].includes(before.kind) || [')', ']', '}'].includes(before.text);
}

/** Whether a token is the first of a name with dots. */
function isPath(tokens: Token[], i: number): boolean {
  return isName(tokens[i]) && tokens[i - 1]?.text !== '.' && tokens[i + 1]?.text === '.';
}

function isName(token: Token | undefined): boolean {
  return token?.kind === 'word' || token?.kind === 'name';
}

/** The alias of the table that a path begins with, if it differs from the path. The innermost SELECT with the table decides. */
function resolve(
  tokens: Token[],
  i: number,
  of: Select,
  known: Map<Select, KnownNames>,
  aliases: Map<TableUse, string>,
): { last: number; alias: string } | undefined {
  const [first, second] = [tokens[i]?.name ?? '', tokens[i + 2]];
  const isLong = isName(second) && tokens[i + 3]?.text === '.';
  for (let select: Select | undefined = of; select !== undefined; select = select.parent) {
    const names = known.get(select);
    const whole = isLong ? names?.byFullName.get(`${first}.${second?.name}`) : undefined;
    if (whole?.use !== undefined) return { last: i + 2, alias: aliases.get(whole.use) ?? whole.name };
    const source = names?.byName.get(first);
    if (source === undefined) continue;
    const alias = source.use && aliases.get(source.use);
    return alias === undefined ? undefined : { last: i, alias };
  }
  return undefined;
}

const databaseFunctions = new Set(['currentdatabase', 'current_database', 'database', 'schema']);

/** `currentDatabase()` returns the dataset, not the internal database of the server. */
function withDataset(tokens: Token[], dataset = 'default'): Token[] {
  const changes: Changes = new Map();
  for (const [i, token] of tokens.entries()) {
    const isCalled = tokens[i + 1]?.text === '(' && tokens[i + 2]?.text === ')';
    if (!isCalled || !isName(token) || !databaseFunctions.has(token.name.toLowerCase())) continue;
    const literal: Token = { ...token, kind: 'string', text: quoteString(dataset), name: '', isApart: false };
    // The alias keeps the column name of the answer.
    const named = [literal, wordAt(token, 'AS'), nameAt(token, `${token.name}()`)];
    changes.set(i, {
      last: i + 2,
      by: [{ ...signAt(token, '('), isApart: token.isApart }, ...named, signAt(token, ')')],
    });
  }
  return applyChanges(tokens, changes);
}

function wordAt(token: Token, text: string): Token {
  return { ...token, kind: 'word', text, name: text, isApart: true };
}

function nameAt(token: Token, name: string): Token {
  return { ...token, kind: 'name', text: quoteName(name), name, isApart: true };
}

function signAt(token: Token, text: string): Token {
  return { ...token, kind: 'sign', text, name: '', isApart: false };
}
