import * as z from 'zod';
import { ApiError, requireFirstRow } from '../../core/errors.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs } from '../../stores/postgres/client.ts';
import { fromJsonb } from '../../stores/postgres/jsonb.ts';
import type { MonitoringDeps } from '../deps.ts';
import type { ChannelDefinition } from './channel.ts';
import { type Definitions, definitions, type Kind, kinds, nameOf } from './kinds.ts';
import type { MaintenanceDefinition, SilenceDefinition } from './mutes.ts';
import type { PageDefinition, SloDefinition } from './page.ts';
import type { RelationDefinition } from './relation.ts';
import type { Rule } from './rule.ts';
import type { Service } from './service.ts';

/** A stored resource. `definition` has its defaults, and names secrets in place of their values. */
export type Resource<K extends Kind = Kind> = {
  kind: K;
  id: string;
  definition: Definitions[K];
  revision: number;
  /** The key that wrote it last. */
  actor: string;
  createdAt_ms: number;
  changedAt_ms: number;
};

export type MonitoredService = Service & { revision: number; createdAt_ms: number };

/** The configuration of a dataset. The revision grows with each change of a resource or a secret; 0 before the first one. */
export type MonitorConfig = {
  revision: number;
  services: Map<string, MonitoredService>;
  relations: (RelationDefinition & { relationId: string })[];
  rules: Rule[];
  channels: Map<string, ChannelDefinition & { channelId: string }>;
  silences: (SilenceDefinition & { silenceId: string })[];
  maintenances: (MaintenanceDefinition & { maintenanceId: string })[];
  pages: (PageDefinition & { pageId: string; createdAt_ms: number })[];
  slos: (SloDefinition & { sloId: string })[];
};

const members = z.object({
  kind: z.enum(kinds),
  id: z.string(),
  definition: z.unknown(),
  revision: z.number(),
  actor: z.string(),
  createdAt_ms: z.number(),
});

const resourceRow = members.extend({ changedAt_ms: z.number() });

const configRow = z.object({
  revision: z.number(),
  resources: z.array(members),
});

/** Selects `revision` and `resources` of `$buffer` and `$dataset`: one row, for a dataset without any too. */
export const configColumnsSql = `
  coalesce((select revision from monitor_datasets where buffer = $buffer and dataset = $dataset), 0)::float8 as revision,
  (select coalesce(jsonb_agg(jsonb_build_object('kind', kind, 'id', id, 'definition', definition, 'revision', revision,
            'actor', actor, 'createdAt_ms', ${epochMs('created_at')}) order by kind, id collate "C"), '[]')
     from monitor_resources where buffer = $buffer and dataset = $dataset) as resources`;

/**
 * The whole configuration of a dataset, in one statement.
 *
 * @throws StoreError; Error for a stored definition that this version cannot read
 */
export async function readConfig(ctx: MonitoringDeps, dataset: string): Promise<MonitorConfig> {
  return configOf(await readConfigRow(ctx, dataset));
}

/** A configuration in its stored form. */
export type ConfigRow = z.output<typeof configRow>;

/** Throws StoreError. */
export async function readConfigRow(ctx: MonitoringDeps, dataset: string): Promise<ConfigRow> {
  const rows = await ctx.postgres.rows(`select ${configColumnsSql}`, {
    buffer: ctx.config.TIMESTORE_KEY_PREFIX,
    dataset,
  });
  return requireFirstRow('postgres', checkRows(configRow, rows));
}

/** Throws Error for a stored definition that this version cannot read. */
export function configOf({ revision, resources }: ConfigRow): MonitorConfig {
  const stored = resources.map(parseResource);
  const of = <K extends Kind>(kind: K) => stored.filter((each): each is Config<K> => each.kind === kind);
  return {
    revision,
    services: byId(
      of('service').map(({ definition, id, revision, createdAt_ms }) => ({
        ...definition,
        serviceId: id,
        revision,
        createdAt_ms,
      })),
    ),
    relations: of('relation').map(({ id, definition }) => ({ ...definition, relationId: id })),
    rules: of('rule').map(({ id, definition, revision, actor }) => ({ ...definition, ruleId: id, revision, actor })),
    channels: new Map(of('channel').map(({ id, definition }) => [id, { ...definition, channelId: id }])),
    silences: of('silence').map(({ id, definition }) => ({ ...definition, silenceId: id })),
    maintenances: of('maintenance').map(({ id, definition }) => ({ ...definition, maintenanceId: id })),
    pages: of('page').map(({ id, definition, createdAt_ms }) => ({ ...definition, pageId: id, createdAt_ms })),
    slos: of('slo').map(({ id, definition }) => ({ ...definition, sloId: id })),
  };
}

type Config<K extends Kind> = Pick<Resource<K>, 'kind' | 'id' | 'definition' | 'revision' | 'actor' | 'createdAt_ms'>;

function byId<Item extends { serviceId: string }>(items: Item[]): Map<string, Item> {
  return new Map(items.map((item) => [item.serviceId, item]));
}

/** Throws Error for a definition that this version cannot read. */
export function parseResource<Row extends z.output<typeof members>>(row: Row): Row & { definition: Definitions[Kind] } {
  const { success, data, error } = definitions[row.kind].safeParse(fromJsonb(row.definition));
  if (success) return { ...row, definition: data };
  throw new Error(`${nameOf(row)} has a definition that cannot be read: ${error.message}`);
}

const columnsSql = `kind, id, definition, revision, actor, ${epochMs('created_at')} as "createdAt_ms",
  ${epochMs('changed_at')} as "changedAt_ms"`;

/** Resources of a kind, by id. Throws StoreError. */
export async function listResources(
  ctx: MonitoringDeps,
  dataset: string,
  kind: Kind,
  { after, limit }: { after?: string | undefined; limit: number },
): Promise<Resource[]> {
  const rows = await ctx.postgres.rows(
    `select ${columnsSql} from monitor_resources
      where buffer = $buffer and dataset = $dataset and kind = $kind and ($after::text is null or id collate "C" > $after)
      order by id collate "C" limit $limit`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset, kind, after: after ?? null, limit },
  );
  return checkRows(resourceRow, rows).map((row) => parseResource(row) as Resource);
}

/** Throws ApiError `not-found`; StoreError. */
export async function readResource(ctx: MonitoringDeps, dataset: string, kind: Kind, id: string): Promise<Resource> {
  const rows = await ctx.postgres.rows(
    `select ${columnsSql} from monitor_resources
      where buffer = $buffer and dataset = $dataset and kind = $kind and id = $id`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset, kind, id },
  );
  const [found] = checkRows(resourceRow, rows);
  if (found === undefined) throw new ApiError('not-found', `${nameOf({ kind, id })} not found.`);
  return parseResource(found) as Resource;
}
