import * as z from 'zod';

/** Names of datasets and tables. No dot and no brace, so that `<dataset>.<table>` is unambiguous in keys and databases. */
export const slugPattern = /^[a-z0-9][a-z0-9_-]{0,62}$/;

export const slugRule = 'must match [a-z0-9][a-z0-9_-]{0,62}';

export const slug = z.string().regex(slugPattern, slugRule);

/** A table in the stores: its dataset and its physical name. Each life of a table name has its own physical name. */
export type TableRef = { dataset: string; physical: string };

/** The first life of a table has its logical name; later lives append a dot, which no slug contains, and their number. */
export function physicalName(name: string, life: number): string {
  return life === 1 ? name : `${name}.${life}`;
}

/** Physical names of tables, including the quarantine. */
export const physicalPattern = /^[a-z0-9_][a-z0-9_-]{0,62}(?:\.[1-9][0-9]{0,8})?$/;

/** The life of a physical name, from 1. */
export function lifeOf(physical: string): number {
  return Number(physical.split('.')[1] ?? 1);
}

/** The name that clients use. */
export function logicalName(physical: string): string {
  return physical.split('.')[0] ?? physical;
}

/** Quotes a ClickHouse identifier with backticks. No other function does. */
export function quoteName(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``;
}

/** A ClickHouse string literal, for places that accept no parameter (types, settings). No other function writes one. */
export function quoteString(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/** The quoted ClickHouse database of a dataset. */
export function databaseName(dataset: string): string {
  return quoteName(`ts_${dataset}`);
}

/** The quoted, qualified ClickHouse name of a table on one server. */
export function qualifiedName(table: TableRef): string {
  return `${databaseName(table.dataset)}.${quoteName(table.physical)}`;
}

/** The name of the Distributed table over all shards of a cluster. No life of a table has such a name. */
export function everywhereName({ dataset, physical }: TableRef): string {
  return qualifiedName({ dataset, physical: `${physical}.all` });
}
