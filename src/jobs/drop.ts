import { type Dropped, dropDatabase, dropTable } from '../catalog/drop-table.ts';
import type { Statement } from '../postgres/client.ts';
import type { Step } from './work.ts';

/** From here on nothing brings a table or a dataset back: the change that would needs `delete_at`. */
const passTable = `update tables set delete_at = null
  where dataset = $1 and name = $2 and dropped_at is null and state = 'deleting' and (delete_at is null or delete_at <= now())
  returning dataset, name, life, (definition->>'readLanes')::int as "readLanes"`;

const lineOf = (dataset: string, table: string | null, actor: string, job: string): Statement => [
  `insert into audit_log (actor, request_id, action, dataset, "table")
   values ($1, $2, case when $4::text is null then 'dataset.drop' else 'table.drop' end, $3, $4)`,
  [actor, job, dataset, table],
];

/** Drops a table whose grace is over. */
export const dropTableStep: Step = async (ctx, { dataset, table, actor, id }) => {
  if (dataset === null || table === null) throw new RangeError('this job is of a table');
  const [passed] = await ctx.postgres.rows<Dropped>(passTable, [dataset, table]);
  // Taken back, or dropped before.
  if (passed === undefined) return { done: { dropped: false } };
  const alongside = await dropTable(ctx, passed);
  return { alongside: [...alongside, lineOf(dataset, table, actor, id)], done: { dropped: true } };
};

const tablesInStep = 20;

/** Drops a dataset whose grace is over, some of its tables in each step. */
export const dropDatasetStep: Step = async (ctx, { dataset, actor, id }) => {
  if (dataset === null) throw new RangeError('this job is of a dataset');
  const [passed] = await ctx.postgres.rows(
    `update datasets set delete_at = null
      where name = $1 and dropped_at is null and state = 'deleting' and (delete_at is null or delete_at <= now())
     returning name`,
    [dataset],
  );
  if (passed === undefined) return { done: { dropped: false } };
  const tables = await ctx.postgres.rows<Dropped>(
    `select dataset, name, life, (definition->>'readLanes')::int as "readLanes" from tables
      where dataset = $1 and dropped_at is null order by name limit ${tablesInStep}`,
    [dataset],
  );
  const alongside: Statement[] = [];
  for (const table of tables) {
    alongside.push(...(await dropTable(ctx, table)), lineOf(dataset, table.name, actor, id));
  }
  if (tables.length > 0) return { alongside, progress: {} };
  return {
    alongside: [...(await dropDatabase(ctx, dataset)), lineOf(dataset, null, actor, id)],
    done: { dropped: true },
  };
};
