import * as z from 'zod';
import { markDue } from '../buffer/due.ts';
import { logicalName, physicalName } from '../core/identifiers.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { FlushDeps } from './deps.ts';

const tablesAtOnce = 50;

const sweepDueRow = z.object({ dataset: z.string(), name: z.string(), life: z.number(), lanes: z.number() });

/**
 * Checks every lane of every recorded table, and adds lanes with pending rows to the due set: the set is one key and can be lost
 * alone. Reports lanes whose log does not match their state.
 *
 * @returns the number of lanes that were missing in the due set
 * @throws StoreError if Postgres or Redis is unavailable
 */
export async function sweepDue(ctx: FlushDeps): Promise<number> {
  let found = 0;
  let after = { dataset: '', name: '' };
  for (;;) {
    const tables = checkRows(
      sweepDueRow,
      await ctx.postgres.rows(
        `select dataset, name, life, (definition->>'readLanes')::int as lanes from tables
        where dropped_at is null and (dataset, name) > ($dataset, $name) order by dataset, name limit $tablesAtOnce`,
        { dataset: after.dataset, name: after.name, tablesAtOnce },
      ),
    );
    const last = tables.at(-1);
    if (last === undefined) break;
    const lanes = tables.flatMap(({ dataset, name, life, lanes: count }) => {
      const table = { dataset, physical: physicalName(name, life) };
      return Array.from({ length: count }, (_, lane) => ({ table, lane }));
    });
    const { added, differing } = await markDue(ctx, lanes);
    found += added;
    for (const { table, lane, waiting } of differing) {
      const of = { dataset: table.dataset, table: logicalName(table.physical), lane };
      ctx.log({ event: 'lane-differs', alarm: true, ...of, ...waiting });
    }
    after = last;
  }
  if (found > 0) ctx.log({ event: 'due-swept', alarm: true, lanes: found });
  return found;
}
