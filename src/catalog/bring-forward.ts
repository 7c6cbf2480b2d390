import * as z from 'zod';
import { StoreError } from '../core/errors.ts';
import { physicalName } from '../core/identifiers.ts';
import { parseTable, schemaText, type Table } from '../schema/table.ts';
import type { TableSchema } from '../schema/types.ts';
import { checkRows } from '../stores/check-rows.ts';
import type { Params, Statement } from '../stores/postgres/client.ts';
import { askInTurn } from '../stores/redis/client.ts';
import { auditLine } from './audit-log/statement.ts';
import { checksumOf } from './checksum.ts';
import type { CatalogDeps } from './deps.ts';

/** The version of a table in the hot buffer that disagrees with the catalogue. */
export type Kept = { life: number; version: number; revision: number; definition: string };

/** The version of a dropped table in the hot buffer: higher than any recorded version. */
const forgotten = 2 ** 53;

const bringForwardRow = z.object({ life: z.number().nullable() });

/**
 * Repairs the record of a table after the catalogue was restored from an older state. The catalogue records each change before
 * the hot buffer has it, so a newer version in the buffer proves the restore. Without the repair the catalogue would assign
 * version numbers again that stored rows use. The repaired record has the schema of the accepted rows and higher numbers.
 *
 * @param recorded the record, read after the hot buffer
 * @returns whether the record was changed
 * @throws StoreError if an operator must decide: the table was dropped later, or its definition is lost
 */
export async function bringForward(
  ctx: CatalogDeps,
  dataset: string,
  name: string,
  recorded: Table | undefined,
  kept: Kept,
): Promise<boolean> {
  const event = {
    event: 'catalogue-set-back',
    alarm: true,
    dataset,
    table: name,
    kept: [kept.life, kept.version, kept.revision],
  };
  if (recorded === undefined || recorded.life < kept.life) {
    const [known] = checkRows(
      bringForwardRow,
      await ctx.postgres.rows('select max(life) as life from tables where dataset = $dataset and name = $name', {
        dataset,
        name,
      }),
    );
    // The table was dropped, and the hot buffer is not updated yet.
    if (recorded === undefined && (known?.life ?? 0) >= kept.life) return false;
  } else if (recorded.life > kept.life) return false;

  if (kept.version === forgotten) {
    if (recorded?.life !== kept.life) {
      ctx.log({ ...event, repaired: 'dropped' });
      await ctx.postgres.transaction(recordDropped(dataset, name, kept.life));
      return true;
    }
    if (recorded.state === 'deleting') return false;
    ctx.log(event);
    const failure = `was restored to a state before table ${name} of dataset ${dataset} was dropped. Delete the table again`;
    throw new StoreError('postgres', failure, undefined);
  }

  const definition = kept.definition === '' ? undefined : parseTable(JSON.parse(kept.definition));
  const schema = mergeSchemas(
    recorded?.life === kept.life ? recorded.schema : undefined,
    definition?.schema,
    kept.version,
  );
  if (schema === undefined) {
    ctx.log(event);
    const failure = `was restored to a state before table ${name} of dataset ${dataset} was created, and its definition is lost`;
    throw new StoreError('postgres', failure, undefined);
  }
  const isBehind = recorded?.life !== kept.life || recorded.revision < kept.revision;
  if (!isBehind && schema === recorded?.schema) return false;
  ctx.log({ ...event, repaired: schema.version });
  await ctx.postgres.transaction([
    ...(recorded?.life === kept.life ? [] : recordDropped(dataset, name, kept.life - 1)),
    ...recordStatements(dataset, name, kept, definition, schema),
    ...(definition === undefined ? [] : await laneStatements(ctx, definition)),
  ]);
  return true;
}

/**
 * A schema with all fields of accepted rows. It gets a new version unless it equals one of the two. Undefined if both are
 * unknown.
 */
function mergeSchemas(recorded: TableSchema | undefined, kept: TableSchema | undefined, keptVersion: number) {
  if (kept === undefined) {
    if (recorded === undefined || recorded.version >= keptVersion) return recorded;
    // The added fields are unknown: the flush quarantines rows that have one.
    return { ...recorded, version: keptVersion + 1 };
  }
  if (recorded === undefined || (recorded.version < kept.version && includesFields(kept, recorded))) return kept;
  const isSame = recorded.version === kept.version && includesFields(kept, recorded) && includesFields(recorded, kept);
  if (isSame || (recorded.version > kept.version && includesFields(recorded, kept))) return recorded;
  const version = Math.max(recorded.version, kept.version) + 1;
  const others = recorded.fields.filter(({ name }) => !kept.fields.some((field) => field.name === name));
  const since = (field: (typeof others)[number]) => ({
    ...field,
    ...(field.since !== undefined && { since: version }),
  });
  return { ...kept, version, fields: [...kept.fields, ...others.map(since)] };
}

function includesFields(schema: TableSchema, other: TableSchema): boolean {
  return other.fields.every(({ name, type }) =>
    schema.fields.some((field) => field.name === name && field.type === type),
  );
}

/** Records the end of a life and of all lives before it. */
function recordDropped(dataset: string, name: string, life: number): Statement[] {
  return [
    ['insert into datasets (name) values ($dataset) on conflict do nothing', { dataset }],
    [
      `update tables set dropped_at = now(), revision = revision + 1
        where dataset = $dataset and name = $name and life <= $life and dropped_at is null`,
      { dataset, name, life },
    ],
    [
      `insert into tables (dataset, name, life, definition, schema_version, dropped_at)
       select $dataset, $name, $life, '{"window":"day","lanes":1,"readLanes":1}', 1, now() where $life > 0 on conflict do nothing`,
      { dataset, name, life },
    ],
  ];
}

function recordStatements(
  dataset: string,
  name: string,
  { life, revision }: Kept,
  definition: Table | undefined,
  schema: TableSchema,
): Statement[] {
  const text = schemaText(schema);
  const { window, lanes, readLanes, shards, retention, state } = definition ?? {};
  const placed = definition === undefined ? {} : { lanes, readLanes, shards };
  const whole = { window, ...placed, ...(retention !== undefined && { retention }) };
  const params: Params = {
    dataset,
    name,
    life,
    placed: JSON.stringify(placed),
    whole: JSON.stringify(whole),
    version: schema.version,
    revision: revision + 1,
    state: state === 'active' ? 'active' : 'frozen',
  };
  const detail = { version: schema.version, revision: revision + 1 };
  const line = auditLine({ action: 'table.bring-forward', dataset, table: name, detail }, 'changed', params);
  return [
    [
      `insert into datasets as known (name) values ($dataset) on conflict (name) do update
         set dropped_at = null, state = 'active', delete_at = null, revision = known.revision + 1 where known.dropped_at is not null`,
      { dataset },
    ],
    [
      `with changed as (
         insert into tables as known (dataset, name, life, definition, schema_version, revision, state)
         values ($dataset, $name, $life, $whole::jsonb, $version, $revision, $state)
         on conflict (dataset, name, life) do update
           set definition = known.definition || $placed::jsonb, schema_version = greatest(known.schema_version, excluded.schema_version),
               revision = greatest(known.revision, excluded.revision)
           where known.dropped_at is null
         returning name)
       ${line}`,
      params,
    ],
    [
      `insert into schema_versions (dataset, name, life, version, schema, checksum) values ($dataset, $name, $life, $version, $text, $checksum)
       on conflict do nothing`,
      { dataset, name, life, version: schema.version, text, checksum: checksumOf(text) },
    ],
  ];
}

/** Records the lanes, so that a later setup detects their loss. */
async function laneStatements(ctx: CatalogDeps, { dataset, name, life, readLanes }: Table): Promise<Statement[]> {
  const table = { dataset, physical: physicalName(name, life) };
  const commands = Array.from({ length: readLanes }, (_, lane) => ['HMGET', ctx.keys.state(table, lane), 'inc', 'w']);
  const states = (await askInTurn(ctx.redis, commands)) as [string | null, string | null][];
  return states.flatMap(([incarnation, watermark], lane): Statement[] => {
    if (incarnation === null) return [];
    return [
      [
        `insert into lanes (dataset, name, life, lane, incarnation, watermark)
         select $dataset, $name, $life, $lane, $incarnation, $watermark where not exists (
           select from lanes where dataset = $dataset and name = $name and life = $life and lane = $lane and incarnation = $incarnation)`,
        { dataset, name, life, lane, incarnation, watermark },
      ],
    ];
  });
}
