import { findReadable } from '../../catalog/find-table.ts';
import { listTables } from '../../catalog/list-tables.ts';
import { quarantineTable } from '../../catalog/quarantine-table.ts';
import { invalidRequest } from '../../core/invalid-request.ts';
import type { QueryDeps } from '../deps.ts';
import type { Answer } from '../execution/answer.ts';
import { type Asked, queryForm } from '../execution/query-table.ts';
import type { ReadScope } from '../execution/read-scope.ts';
import type { SourceQueryBody } from './body.ts';
import { translateQuery } from './translate.ts';

/**
 * Answers a query in the form of the system that datasets are taken over from.
 *
 * @throws TimestoreError for a query that cannot be answered; StoreError when a store that it needs is unavailable
 */
export async function querySource(
  ctx: QueryDeps,
  reader: ReadScope,
  dataset: string,
  sent: SourceQueryBody,
  asked: Asked,
): Promise<Answer> {
  const tableName = sent.tableName ?? (await defaultTable(ctx, dataset));
  const { limits } = ctx.config;
  return await queryForm(ctx, reader, dataset, tableName, asked, (table) =>
    translateQuery(sent, table, limits, asked.format),
  );
}

const defaultName = 'records';

/** Names that an error lists. */
const named_max = 10;

/**
 * The table of a query that names none: `records`, as it is for rows that name none; without it, the only one.
 *
 * @throws TimestoreError `invalid-request` where there are several
 */
async function defaultTable(ctx: QueryDeps, dataset: string): Promise<string> {
  if ((await findReadable(ctx, dataset, defaultName)) !== undefined) return defaultName;
  // The quarantine and what is being deleted are among them.
  const listed = await listTables(ctx, dataset, { limit: 1_000 });
  const names = listed.filter(({ name, state }) => name !== quarantineTable && state !== 'deleting');
  const [only = { name: defaultName }, ...more] = names;
  if (more.length === 0) return only.name;
  const all = names.map(({ name }) => name);
  const told = all.length > named_max ? `${all.slice(0, named_max).join(', ')} and others` : all.join(', ');
  throw invalidRequest(
    `tableName: dataset ${dataset} has no table ${defaultName} but several others. Name one of ${told}`,
  );
}
