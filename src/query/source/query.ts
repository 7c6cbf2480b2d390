import { findReadable } from '../../catalog/find-table.ts';
import { listTables } from '../../catalog/list-tables.ts';
import { quarantineTable } from '../../catalog/quarantine-table.ts';
import { invalidRequest } from '../../core/invalid-request.ts';
import type { Table } from '../../schema/table.ts';
import type { QueryDeps } from '../deps.ts';
import type { Answer } from '../execution/answer.ts';
import { type AnswerOptions, queryTableAs } from '../execution/query-table.ts';
import type { ReadScope } from '../execution/read-scope.ts';
import type { SourceQueryBody } from './body.ts';
import { translateQuery } from './translate.ts';

/**
 * Answers a query in the format of the source system of a takeover.
 *
 * @throws ApiError for an invalid query; StoreError when a required store is unavailable
 */
export async function querySource(
  ctx: QueryDeps,
  reader: ReadScope,
  dataset: string,
  body: SourceQueryBody,
  options: AnswerOptions,
): Promise<Answer> {
  const name = body.tableName ?? (await defaultTable(ctx, dataset));
  const translate = (table: Table) => translateQuery(body, table, ctx.config.limits, options.format);
  return await queryTableAs(ctx, reader, { dataset, name }, translate, options);
}

const defaultName = 'records';

const listedTables_max = 10;

/**
 * The table of a query without a table name: `records`, as for ingest, else the only table of the dataset.
 *
 * @throws ApiError `invalid-request` where the dataset has several others
 */
async function defaultTable(ctx: QueryDeps, dataset: string): Promise<string> {
  if ((await findReadable(ctx, dataset, defaultName)) !== undefined) return defaultName;
  const listed = await listTables(ctx, dataset, { limit: 1_000 });
  const tables = listed.filter(({ name, state }) => name !== quarantineTable && state !== 'deleting');
  const [only = { name: defaultName }, ...more] = tables;
  if (more.length === 0) return only.name;
  const names = tables.map(({ name }) => name);
  const list =
    names.length > listedTables_max ? `${names.slice(0, listedTables_max).join(', ')} and others` : names.join(', ');
  throw invalidRequest(
    `tableName: dataset ${dataset} has no table ${defaultName} but several others. Name one of ${list}`,
  );
}
