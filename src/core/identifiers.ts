import * as z from 'zod';

/** Names of datasets and tables. No dot and no brace, so that `<dataset>.<table>` is unambiguous in keys and databases. */
export const slugPattern = /^[a-z0-9][a-z0-9_-]{0,62}$/;

export const slugRule = 'must match [a-z0-9][a-z0-9_-]{0,62}';

export const slug = z.string().regex(slugPattern, slugRule);

/** Where a table lives: its dataset and its physical name, which is new for each life of a table of the same name. */
export type TableRef = { dataset: string; physical: string };

/** A table's name in its first life is the one clients use; later lives are numbered, with a dot no slug can have. */
export function physicalName(name: string, life: number): string {
  return life === 1 ? name : `${name}.${life}`;
}

/** The physical name of any table, the quarantine's among them. */
export const physicalPattern = /^[a-z0-9_][a-z0-9_-]{0,62}(?:\.[1-9][0-9]{0,8})?$/;

/** Which life of its name a table is. */
export function lifeOf(physical: string): number {
  return Number(physical.split('.')[1] ?? 1);
}

/** The name that clients use. */
export function logicalName(physical: string): string {
  return physical.split('.')[0] ?? physical;
}

/** The one function that quotes a ClickHouse identifier: backticks, with backslash and backtick escaped. */
export function quoteName(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``;
}

/** The one function that writes a ClickHouse string literal, for the places that take no parameter (types, settings). */
export function quoteString(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/** The quoted ClickHouse database of a dataset. */
export function databaseName(dataset: string): string {
  return quoteName(`ts_${dataset}`);
}

/** The quoted, qualified ClickHouse name of a table: of what a server has of it. */
export function qualifiedName(table: TableRef): string {
  return `${databaseName(table.dataset)}.${quoteName(table.physical)}`;
}

/** The same of a table as a whole, on a cluster. No life of a table has such a name. */
export function everywhereName({ dataset, physical }: TableRef): string {
  return qualifiedName({ dataset, physical: `${physical}.all` });
}
