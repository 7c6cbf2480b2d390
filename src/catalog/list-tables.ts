import * as z from 'zod';
import type { Retention, Table } from '../schema/table.ts';
import { retentionSchema } from '../schema/table.ts';
import { effectiveRetention, effectiveState, type State, states } from '../schema/table-state.ts';
import type { TableSchema } from '../schema/types.ts';
import { checkRows } from '../stores/check-rows.ts';
import { epochMs } from '../stores/postgres/client.ts';
import type { Page } from './datasets.ts';
import type { CatalogDeps } from './deps.ts';

const listedRow = z.object({
  dataset: z.string(),
  name: z.string(),
  life: z.number(),
  revision: z.number(),
  state: z.enum(states),
  retention: retentionSchema.nullable(),
  inherits: z.boolean(),
  window: z.enum(['hour', 'day', 'month']),
  lanes: z.number(),
  shards: z.array(z.number()).nullable(),
  /** As JSON text. */
  schema: z.string(),
  createdAt_ms: z.number(),
  deleteAt_ms: z.number().nullable(),
});

export type ListedTable = {
  dataset: string;
  name: string;
  life: number;
  revision: number;
  state: State;
  /** The effective retention. */
  retention: Retention | null;
  /** Whether the retention comes from the dataset. */
  inherits: boolean;
  window: Table['window'];
  lanes: number;
  /** Shard of each lane; null without a cluster. */
  shards: number[] | null;
  schema: TableSchema;
  createdAt_ms: number;
  deleteAt_ms: number | null;
};

const columns = `t.dataset, t.name, t.life, t.revision, ${effectiveState} as state, ${effectiveRetention} as retention,
  not t.definition ? 'retention' as inherits, t.definition->>'window' as window, (t.definition->>'lanes')::int as lanes,
  coalesce(t.definition->'shards', to_jsonb(array_fill(1, array[(t.definition->>'readLanes')::int]))) as shards,
  s.schema, ${epochMs('t.created_at')} as "createdAt_ms",
  ${epochMs('coalesce(least(t.delete_at, d.delete_at), t.delete_at, d.delete_at)')} as "deleteAt_ms"`;

const joined = `tables t join datasets d on d.name = t.dataset
  join schema_versions s on (s.dataset, s.name, s.life, s.version) = (t.dataset, t.name, t.life, t.schema_version)`;

/** Sorted by name. `state`: by default all but archived tables. Throws StoreError. */
export async function listTables(
  ctx: CatalogDeps,
  dataset: string,
  { after, search, limit, state }: Page & { state?: State | undefined },
): Promise<ListedTable[]> {
  const rows = checkRows(
    listedRow,
    await ctx.postgres.rows(
      `select ${columns} from ${joined}
      where t.dataset = $dataset and t.dropped_at is null and ($after::text is null or t.name > $after)
        and ($search::text is null or strpos(t.name, $search) > 0)
        and (${effectiveState} = $state or ($state::text is null and ${effectiveState} <> 'archived'))
      order by t.name limit $limit`,
      { dataset, after: after ?? null, search: search ?? null, state: state ?? null, limit },
    ),
  );
  return rows.map((row) => toListedTable(ctx, row));
}

/** Undefined if the table does not exist. */
export async function readListed(ctx: CatalogDeps, dataset: string, name: string): Promise<ListedTable | undefined> {
  const [row] = checkRows(
    listedRow,
    await ctx.postgres.rows(
      `select ${columns} from ${joined} where t.dataset = $dataset and t.name = $name and t.dropped_at is null`,
      { dataset, name },
    ),
  );
  return row === undefined ? undefined : toListedTable(ctx, row);
}

function toListedTable(ctx: CatalogDeps, row: Omit<ListedTable, 'schema'> & { schema: string }): ListedTable {
  const shards = ctx.cluster === undefined ? null : row.shards;
  return { ...row, shards, schema: JSON.parse(row.schema) as TableSchema };
}
