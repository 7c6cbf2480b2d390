import * as z from 'zod';
import { applyRetention } from '../../catalog/ensure-table.ts';
import { readTable } from '../../catalog/find-table.ts';
import { defineJob } from '../../jobs/definition.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { OperationStep } from '../deps.ts';

const tablesInStep = 20;

export const retentionJob = defineJob({
  kinds: ['apply-retention'],
  request: z.object({}),
  /** The last table, and the number of tables, to which the retention was applied. */
  progress: z.object({ after: z.string().default(''), tables: z.int().default(0) }),
  result: z.object({ tables: z.int() }),
});

const applyRetentionStepRow = z.object({ name: z.string() });

/** Applies the dataset's retention to its tables without a retention of their own. */
export const applyRetentionStep: OperationStep<typeof retentionJob> = async (ctx, { dataset, progress }) => {
  const { after, tables } = progress;
  const names = checkRows(
    applyRetentionStepRow,
    await ctx.postgres.rows(
      `select name from tables where dataset = $dataset and dropped_at is null and not definition ? 'retention' and name > $after
      order by name limit ${tablesInStep}`,
      { dataset, after },
    ),
  );
  for (const { name } of names) {
    const table = await readTable(ctx, dataset, name);
    if (table !== undefined && table.state !== 'deleting') await applyRetention(ctx, table);
  }
  const last = names.at(-1);
  const all = tables + names.length;
  return last === undefined ? { done: { tables: all } } : { progress: { after: last.name, tables: all } };
};
