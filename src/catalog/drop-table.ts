import { dropLanes } from '../buffer/drop-lanes.ts';
import { everywhereName, physicalName, qualifiedName, type TableRef } from '../core/identifiers.ts';
import { currentActor } from '../core/request-context.ts';
import { everyNode } from '../stores/clickhouse/servers.ts';
import type { Params, Statement } from '../stores/postgres/client.ts';
import { ask } from '../stores/redis/client.ts';
import type { CatalogDeps } from './deps.ts';
import { drainManifestOutbox } from './manifest-outbox.ts';
import { knownTables } from './table-cache.ts';

export type Dropped = { dataset: string; name: string; life: number; readLanes: number };

/**
 * Drops a table after its grace period: its lanes with pending rows, and its rows in ClickHouse. Idempotent. The record is
 * removed last, so that a retry after a crash finds the table.
 *
 * @returns the statements that remove the record
 * @throws StoreError, ClickHouseError
 */
export async function dropTable(ctx: CatalogDeps, { dataset, name, life, readLanes }: Dropped): Promise<Statement[]> {
  const table = { dataset, name, physical: physicalName(name, life) };
  // Otherwise its manifests would be recorded after the table is removed.
  await drainManifestOutbox(ctx);
  await dropLanes(ctx, table, life, readLanes);
  await ask(() => ctx.redis.del(ctx.keys.replays(table)));
  await dropStored(ctx, table);
  knownTables(ctx).delete(`${dataset}.${name}`);
  const physical = { dataset, physical: table.physical };
  return [
    [
      `delete from manifest_partitions p using manifests m
        where m.id = p.manifest_id and m.dataset = $dataset and m.physical_table = $physical`,
      physical,
    ],
    ['delete from manifests where dataset = $dataset and physical_table = $physical', physical],
    ['delete from deletions where dataset = $dataset and physical_table = $physical', physical],
    ['delete from audits where dataset = $dataset and name = $name', { dataset, name }],
    ['delete from reconciliations where dataset = $dataset and name = $name', { dataset, name }],
    ['delete from export_schedules where dataset = $dataset and "table" = $name', { dataset, name }],
    // Comparisons contain values of rows.
    ['delete from read_comparisons where dataset = $dataset and "table" = $name', { dataset, name }],
    cancelJobs('dataset = $dataset and "table" = $name', { dataset, name }),
    [
      'update tables set dropped_at = now(), revision = revision + 1 where dataset = $dataset and name = $name and life = $life',
      { dataset, name, life },
    ],
  ];
}

/** Drops a table on every ClickHouse server. Throws StoreError, ClickHouseError. */
export async function dropStored(ctx: CatalogDeps, table: TableRef): Promise<void> {
  const nodes = everyNode(ctx);
  await Promise.all(
    nodes.map(async ({ clickhouse }) => {
      if (ctx.cluster !== undefined) await clickhouse.command(`DROP TABLE IF EXISTS ${everywhereName(table)} SYNC`);
      await clickhouse.command(`DROP TABLE IF EXISTS ${qualifiedName(table)} SYNC`);
    }),
  );
}

/**
 * Removes quota and usage of a dropped dataset from the hot buffer. The empty database in ClickHouse stays: its name has no
 * life number, so a late DROP DATABASE would drop tables of the next life.
 *
 * @throws StoreError
 */
export async function forgetCounts(ctx: CatalogDeps, dataset: string): Promise<void> {
  await ask(() => ctx.redis.del(ctx.keys.quota(dataset), ctx.keys.remembered(dataset)));
}

/** The statements that remove the record of a dataset without tables, which frees its name. */
export function datasetGone(dataset: string): Statement[] {
  return [
    ['delete from saved_queries where dataset = $dataset', { dataset }],
    ['delete from read_comparisons where dataset = $dataset', { dataset }],
    ['delete from exports where dataset = $dataset', { dataset }],
    ['delete from export_schedules where dataset = $dataset', { dataset }],
    ...forgetWebhooks(dataset),
    ...monitoringTables.map((name): Statement => [`delete from ${name} where dataset = $dataset`, { dataset }]),
    cancelJobs('dataset = $dataset', { dataset }),
    [
      `update datasets set dropped_at = now(), state = 'active', delete_at = null, title = null, retention = null,
              quota = null, migration = null, revision = revision + 1, life = life + 1
        where name = $dataset`,
      { dataset },
    ],
  ];
}

/** Tables of service monitoring: configuration with its secrets, state and history. */
const monitoringTables = [
  'monitor_resources',
  'monitor_secrets',
  'monitor_heartbeats',
  'monitor_datasets',
  'monitor_channel_states',
  'alert_states',
  'alert_instances',
  'alert_episodes',
  'alert_events',
  'alert_notices',
  'notification_groups',
  'incident_alerts',
  'incident_updates',
  'incidents',
];

/**
 * Cancels jobs of a dropped table or dataset. Drop jobs are excluded because one of them runs this, and mirrors because they end
 * by themselves and record their progress.
 */
function cancelJobs(which: string, params: Params): Statement {
  return [
    `update jobs set state = 'cancelled', finished_at = now(), claim = null, claimed_until = null
      where ${which} and state in ('queued', 'running') and kind not in ('drop-table', 'drop-dataset', 'mirror')`,
    params,
  ];
}

/**
 * Removes a dropped dataset from webhooks and audits each change: a later dataset of the same name must not inherit them. A
 * webhook without remaining datasets is deleted.
 */
function forgetWebhooks(dataset: string): Statement[] {
  const { actor, requestId } = currentActor();
  const changes = [
    [
      'webhook.delete',
      `delete from webhooks where datasets = jsonb_build_array($dataset::text) returning id, datasets`,
    ],
    [
      'webhook.change',
      `update webhooks set datasets = datasets - $dataset::text where datasets ? $dataset::text returning id, datasets`,
    ],
  ];
  return changes.map(([action, change]) => [
    `with changed as (${change})
     insert into audit_log (actor, request_id, action, dataset, detail)
     select $actor, $requestId, $action, $dataset, jsonb_build_object('webhook', id, 'datasets', datasets) from changed`,
    { dataset, actor, requestId, action },
  ]);
}
