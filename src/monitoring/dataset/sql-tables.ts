import * as z from 'zod';
import type { FlushDeps } from '../../flush/deps.ts';
import type { OwnRows, OwnTable, OwnTables, OwnView } from '../../query/own-tables.ts';
import type { Field } from '../../schema/types.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { fromJsonb } from '../../stores/postgres/jsonb.ts';
import { definitions, type Kind } from '../resources/kinds.ts';
import { statusSummary } from './status-summary.ts';

const text = (name: string): Field => ({ name, type: 'string', required: true });
const flag = (name: string): Field => ({ name, type: 'boolean', required: true });
const json = (name: string): Field => ({ name, type: 'json', required: true });

type Row = Record<string, unknown>;
type ResourceTable<K extends Kind> = {
  kind: K;
  fields: Field[];
  row(id: string, definition: z.output<(typeof definitions)[K]>): Row;
};

const resourceTable = <K extends Kind>(table: ResourceTable<K>) => table as unknown as ResourceTable<Kind>;

/** The configuration of a dataset as tables, one row a resource. */
const resourceTables: Record<string, ResourceTable<Kind>> = {
  services: resourceTable({
    kind: 'service',
    fields: [
      text('service_id'),
      text('label'),
      text('service_type'),
      text('stack'),
      json('status_config'),
      json('metric_config'),
      flag('enabled'),
    ],
    row: (id, { label = id, serviceType, stack, statusConfig, metricConfig, enabled }) => ({
      service_id: id,
      label,
      service_type: serviceType,
      stack,
      status_config: JSON.stringify(statusConfig),
      metric_config: JSON.stringify(metricConfig),
      enabled,
    }),
  }),
  service_relations: resourceTable({
    kind: 'relation',
    fields: [
      text('relation_id'),
      text('source_service_id'),
      text('target_service_id'),
      text('relation_type'),
      flag('enabled'),
    ],
    row: (id, { sourceServiceId, targetServiceId, relationType, enabled }) => ({
      relation_id: id,
      source_service_id: sourceServiceId,
      target_service_id: targetServiceId,
      relation_type: relationType,
      enabled,
    }),
  }),
  alert_rules: resourceTable({
    kind: 'rule',
    fields: [
      text('rule_id'),
      text('service_id'),
      text('rule_name'),
      text('condition'),
      { name: 'threshold', type: 'double', required: true },
      text('severity'),
      { name: 'notification_channels', type: 'string[]' },
      flag('enabled'),
    ],
    row: (id, { serviceId, ruleName, condition, threshold, severity, notificationChannels, enabled }) => ({
      rule_id: id,
      service_id: serviceId,
      rule_name: ruleName,
      condition,
      threshold,
      severity,
      notification_channels: notificationChannels,
      enabled,
    }),
  }),
};

type Described = Pick<OwnRows, 'name' | 'fields'>;

/** The tables that a monitored dataset has besides those with rows. */
export const ownNames: Described[] = [
  ...Object.entries(resourceTables).map(([name, { fields }]) => ({ name, fields })),
  { name: statusSummary.name, fields: statusSummary.fields },
];

const configRow = z.object({
  resources: z.array(z.object({ id: z.string(), definition: z.unknown() })),
});

/** The tables of monitored datasets. */
export const monitorTables: OwnTables = {
  async find(ctx, dataset, name): Promise<OwnTable | undefined> {
    if (name === statusSummary.name) {
      const isMonitored = (await monitoredDatasets(ctx, { dataset, of: undefined })).length > 0;
      return isMonitored ? ({ ...statusSummary, dataset } satisfies OwnView) : undefined;
    }
    const table = Object.hasOwn(resourceTables, name) ? resourceTables[name] : undefined;
    return table === undefined ? undefined : await readResources(ctx, dataset, name, table);
  },
  async list(ctx, which) {
    const datasets = await monitoredDatasets(ctx, which);
    return datasets.flatMap((dataset) => ownNames.map((each) => ({ ...each, dataset })));
  },
};

/** Throws StoreError; Error for a stored definition that this version cannot read. */
async function readResources(
  ctx: FlushDeps,
  dataset: string,
  name: string,
  { kind, fields, row }: ResourceTable<Kind>,
): Promise<OwnRows | undefined> {
  const [found] = checkRows(
    configRow,
    await ctx.postgres.rows(
      `select coalesce((select jsonb_agg(jsonb_build_object('id', id, 'definition', definition) order by id collate "C")
                          from monitor_resources where buffer = $buffer and dataset = $dataset and kind = $kind), '[]') as resources
         from monitor_datasets where buffer = $buffer and dataset = $dataset`,
      { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset, kind },
    ),
  );
  if (found === undefined) return undefined;
  const rows = found.resources.map(({ id, definition }) => row(id, definitions[kind].parse(fromJsonb(definition))));
  return { kind: 'rows', dataset, name, fields, rows };
}

const datasetRow = z.object({ dataset: z.string() });

async function monitoredDatasets(
  ctx: FlushDeps,
  { dataset, of }: { dataset: string | undefined; of: string[] | undefined },
): Promise<string[]> {
  const rows = await ctx.postgres.rows(
    `select dataset from monitor_datasets
      where buffer = $buffer and ($dataset::text is null or dataset = $dataset)
        and ($datasets::text[] is null or dataset = any($datasets))`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset: dataset ?? null, datasets: of ?? null },
  );
  return checkRows(datasetRow, rows).map((row) => row.dataset);
}
