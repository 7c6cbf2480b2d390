import * as z from 'zod';
import { requireFirstRow } from '../../core/errors.ts';
import { checkRows, isRecord } from '../../stores/check-rows.ts';
import { fromJsonb } from '../../stores/postgres/jsonb.ts';
import type { MonitoringDeps } from '../deps.ts';
import { type Kind, kinds } from '../resources/kinds.ts';
import { configColumnsSql } from '../resources/store.ts';

/** The definition of any kind, with its defaults. */
export type Members = Record<string, unknown>;

export type StoredResource = { kind: Kind; id: string; definition: Members; revision: number };

/** The configuration of a dataset as a change sees it, with the values of secrets: never part of an answer. */
export type Stored = {
  revision: number;
  resources: Map<string, StoredResource>;
  secrets: Map<string, string>;
};

const storedRow = z.object({
  revision: z.number(),
  resources: z.array(
    z.object({
      kind: z.enum(kinds),
      id: z.string(),
      definition: z.custom<Members>(isRecord),
      revision: z.number(),
    }),
  ),
  secrets: z.array(z.object({ name: z.string(), value: z.string() })),
});

/** Throws StoreError. */
export async function readStored(ctx: MonitoringDeps, dataset: string): Promise<Stored> {
  const rows = await ctx.postgres.rows(
    `select ${configColumnsSql},
            (select coalesce(jsonb_agg(jsonb_build_object('name', name, 'value', value)), '[]')
               from monitor_secrets where buffer = $buffer and dataset = $dataset) as secrets`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset },
  );
  const { revision, resources, secrets } = requireFirstRow('postgres', checkRows(storedRow, rows));
  return {
    revision,
    resources: new Map(
      resources.map((each) => [keyOf(each), { ...each, definition: fromJsonb(each.definition) }] as const),
    ),
    secrets: new Map(secrets.map(({ name, value }) => [name, value])),
  };
}

/** The key of a resource in `Stored`. No kind contains a slash. */
export function keyOf({ kind, id }: { kind: Kind; id: string }): string {
  return `${kind}/${id}`;
}
