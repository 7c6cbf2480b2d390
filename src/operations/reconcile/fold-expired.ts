import * as z from 'zod';
import { partitionsThere } from '../../catalog/partitions.ts';
import type { Table } from '../../schema/table.ts';
import { checkRows } from '../../stores/check-rows.ts';
import type { Statement } from '../../stores/postgres/client.ts';
import type { OperationDeps } from '../deps.ts';

const lineRow: z.ZodType<Line> = z.object({
  id: z.string(),
  lane: z.number(),
  incarnation: z.string(),
  from: z.string(),
  to: z.string(),
});

type Line = { id: string; lane: number; incarnation: string; from: string; to: string };

/** Limits the size of the transaction. */
const manifests_max = 5_000;

/**
 * Folds manifests whose rows are all past their retention and deleted in ClickHouse. Each run of consecutive manifests
 * becomes one manifest without rows, so the sequences stay recorded and an audit finds no gap.
 *
 * @param retained_ms rows before this time are past their retention
 * @returns the number of runs that were folded
 */
export async function foldExpired(ctx: OperationDeps, table: Table, retained_ms: number): Promise<number> {
  const { dataset, physical } = table;
  const partitions = await partitionsThere(ctx, table);
  const lines = checkRows(
    lineRow,
    await ctx.postgres.rows(
      `select id, lane, incarnation, seq_from as from, seq_to as to from manifests m
      where dataset = $dataset and physical_table = $physical
        and not exists (select from manifest_partitions p where p.manifest_id = m.id
                         and (p.time_to >= to_timestamp($retained_ms::float8 / 1000) or p.partition = any($partitions)))
      order by lane, seq_from limit ${manifests_max}`,
      { dataset, physical, retained_ms, partitions },
    ),
  );
  const statements = groupRuns(lines).flatMap((run) => foldOne(run));
  if (statements.length === 0) return 0;
  await ctx.postgres.transaction(statements);
  return statements.length / 3;
}

/** Runs of at least two manifests of one incarnation of a lane, without a gap between them. */
function groupRuns(lines: Line[]): Line[][] {
  const runs: Line[][] = [];
  for (const line of lines) {
    const run = runs.at(-1);
    const last = run?.at(-1);
    const follows =
      last !== undefined &&
      last.lane === line.lane &&
      last.incarnation === line.incarnation &&
      Number(line.from) === Number(last.to) + 1;
    if (follows) run?.push(line);
    else runs.push([line]);
  }
  return runs.filter((run) => run.length > 1);
}

/** The last manifest of a run replaces all of them. */
function foldOne(run: Line[]): Statement[] {
  const first = run[0];
  const last = run.at(-1);
  if (first === undefined || last === undefined) return [];
  const gone = run.slice(0, -1).map(({ id }) => id);
  return [
    ['delete from manifest_partitions where manifest_id = any($ids)', { ids: [...gone, last.id] }],
    ['delete from manifests where id = any($gone)', { gone }],
    [
      `update manifests set seq_from = $from, rows = 0, bytes = 0, trigger = 'expired', batches = '[]', quarantined = 0
        where id = $id`,
      { id: last.id, from: first.from },
    ],
  ];
}
