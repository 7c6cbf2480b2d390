import * as z from 'zod';

/** A time as ISO 8601 in UTC. Postgres writes the offset of its session into JSON. */
const time = z.string().transform((text) => new Date(text).toISOString());

/** The columns of `manifest_partitions`, without the manifest's id. */
const partitionColumns = z.object({
  partition: z.string(),
  rows: z.int(),
  seq_from: z.int(),
  seq_to: z.int(),
  time_from: time,
  time_to: time,
  checksum: z.string(),
});

/**
 * The columns of `manifests`. This schema is their one list: the type, the statements that write and read manifests, and the
 * check of read rows derive from it. A new column is nullable, because the outbox can hold manifests of an older version.
 */
const columns = z.object({
  id: z.string(),
  dataset: z.string(),
  table: z.string(),
  physical_table: z.string(),
  lane: z.int(),
  incarnation: z.string(),
  token: z.string(),
  epoch: z.int(),
  seq_from: z.int(),
  seq_to: z.int(),
  rows: z.int(),
  bytes: z.int(),
  schema_version: z.int(),
  checksum: z.string(),
  trigger: z.string(),
  /** Rows of the seal that ClickHouse rejected. */
  quarantined: z.int(),
  /** Rows past their retention. */
  expired: z.int(),
  inserts: z.int(),
  /** Metadata of batches. */
  batches: z.array(z.object({ seq: z.int(), meta: z.unknown() })),
  flushed_at: time,
});

/** The record of a flush: columns of `manifests`, and its partitions. */
export const manifestSchema = columns.extend({ partitions: z.array(partitionColumns) });
export type Manifest = z.output<typeof manifestSchema>;

const quoted = (names: string[]) => names.map((name) => `"${name}"`).join(', ');
const jsonFields = (names: string[], row: string) => names.map((name) => `'${name}', ${row}."${name}"`).join(', ');

const columnNames = Object.keys(columns.shape);
const partitionNames = Object.keys(partitionColumns.shape);

/** SQL: the row `m` of `manifests` as JSON that `manifestSchema` reads, its partitions in their order. */
export const manifestJson = `jsonb_build_object(${jsonFields(columnNames, 'm')}, 'partitions',
  (select coalesce(jsonb_agg(jsonb_build_object(${jsonFields(partitionNames, 'p')}) order by p.partition), '[]')
     from manifest_partitions p where p.manifest_id = m.id))`;

/** Statements that write the manifests of the JSON array `$manifests`. A repeated manifest changes nothing. */
export const insertManifests = `insert into manifests (${quoted(columnNames)})
  select ${quoted(columnNames)} from jsonb_populate_recordset(null::manifests, $manifests::jsonb)
  on conflict do nothing`;
export const insertPartitions = `insert into manifest_partitions (manifest_id, ${quoted(partitionNames)})
  select m->>'id', ${quoted(partitionNames)}
    from jsonb_array_elements($manifests::jsonb) m,
         jsonb_populate_recordset(null::manifest_partitions, m->'partitions')
  on conflict do nothing`;
