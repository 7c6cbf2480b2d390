import * as z from 'zod';

/** Defaults of every limit; each is one environment value, `TIMESTORE_` and the name in capitals. Units are last in names. */
export const limitsSchema = z.object({
  body_bytes_max: count(10 * 1024 * 1024),
  // Bodies and seals that an instance works on at once: each takes several times its bytes of the 128 MiB that there are.
  instance_bytes_max: count(10 * 1024 * 1024),
  request_rows_max: count(50_000),
  row_bytes_max: count(1024 * 1024),
  chunk_bytes_max: count(512 * 1024),
  // Each is a table in ClickHouse and lanes in the hot buffer, which are looked after every hour.
  dataset_tables_max: count(1_000),
  table_fields_max: count(1_000),
  table_defaults_bytes_max: count(64 * 1024),
  idempotency_ms: count(24 * 3_600_000),
  // Of a request without an Idempotency-Key: nobody but this deployment's own client of the hot buffer asks again.
  idempotency_auto_ms: count(10 * 60_000),
  // Of all keys of a dataset together, and how few of them are not refused for what others use.
  idempotency_bytes_max: count(1024 ** 3),
  idempotency_bytes_min: count(1024 * 1024),
  pending_rows_max: count(500_000),
  pending_bytes_max: count(64 * 1024 * 1024),
  trigger_rows: count(10_000),
  trigger_bytes: count(4 * 1024 * 1024),
  trigger_age_ms: count(5_000),
  flush_rows_max: count(50_000),
  flush_bytes_max: count(8 * 1024 * 1024),
  flush_partitions_max: count(100),
  flush_cells_max: count(5_000_000),
  flush_batches_max: count(10_000),
  // What was said of the batches of a flush, which goes into its manifest.
  flush_meta_bytes_max: count(1024 * 1024),
  insert_timeout_ms: count(30_000),
  lease_ms: count(60_000),
  // Manifests on their way to Postgres. They are one record of the hot buffer, of which Upstash takes 100 MB.
  outbox_max: count(10_000),
  outbox_bytes_max: count(64 * 1024 * 1024),
  // Manifests that Postgres refuses are kept for a look, the newest of them: one record, like the outbox.
  refused_manifests_max: count(64),
  retry_ms: count(1_000),
  retry_ms_max: count(60_000),
  probe_ms: count(20_000),
  // Of a request to the hot buffer and of its reply, as they go over the wire. Upstash takes 10 MiB of either.
  redis_wire_bytes_max: count(9_500_000),
  // One attempt at a command; the scripts answer in milliseconds, the rest is the way there and back.
  redis_timeout_ms: count(5_000),
  replicas_timeout_ms: count(2_000),
  quarantine_rows_max: count(10_000),
  quarantine_inline_bytes_max: count(64 * 1024),
  partition_key_entries_max: count(16),
  partition_meta_bytes_max: count(4 * 1024),
  lanes_max: count(64),
  // Of a table that writers make.
  lanes_default: count(1),
  audit_every_ms: count(6 * 3_600_000),
  // A step of a job is given up when nobody has heard of it for so long.
  job_claim_ms: count(120_000),
  reconcile_every_ms: count(3_600_000),
  // An object that nothing names may be of something that is being written.
  orphan_age_ms: count(24 * 3_600_000),
  tail_rows_max: count(50_000),
  tail_bytes_max: count(8 * 1024 * 1024),
  // What an instance remembers: definitions of tables by their fields, keys and the like by their number.
  kept_fields_max: count(50_000),
  kept_names_max: count(10_000),
  kept_tails_chars_max: count(12 * 1024 * 1024),
  query_rows_default: count(10_000),
  query_rows_max: count(500_000),
  query_timeout_ms: count(30_000),
  // Rows of an import that one insert moves.
  import_rows_max: count(1_000_000),
  // Of an export, which is as slow as whoever reads it.
  export_timeout_ms: count(600_000),
  // What is held of an answer before it is given out. Longer ones are streamed.
  query_held_bytes_max: count(2 * 1024 * 1024),
  // Up to so many rows, reading a column more costs less than another question to the hot buffer.
  fence_rows_max: count(1_000_000),
  read_costs_max: count(1_000),
  query_filters_max: count(100),
  query_list_max: count(10_000),
  query_aggregations_max: count(100),
  sql_chars_max: count(100_000),
  sql_tables_max: count(20),
  sql_params_max: count(100),
  sql_param_bytes_max: count(100_000),
  checked_sql_chars_max: count(256 * 1024),
  saved_sql_chars_max: count(1024 * 1024),
  queries_per_key_max: count(32),
  requests_per_key_max: count(256),
  query_memory_bytes_max: count(4 * 1024 ** 3),
  query_wait_ms: count(2_000),
  query_wait_ms_max: count(10_000),
  // Until the original has begun to answer.
  origin_timeout_ms: count(30_000),
  // Answers of more than this are given out, and not compared.
  compared_bytes_max: count(2 * 1024 * 1024),
  // Comparisons that an instance works on at once: each holds two answers.
  comparisons_max: count(4),
  // Of one request of the mirror. A batch is sent whole: one with more is a request of its own.
  mirror_rows_max: count(5_000),
  mirror_bytes_max: count(4 * 1024 * 1024),
});

export type Limits = z.output<typeof limitsSchema>;

/** Escapes of escapes make up to eight bytes on the wire of one in a row. */
const wireBytesOfOne = 8;

/** A batch, and what was said of those of a flush, must fit into one request to the hot buffer. */
export function tooSmallFor(limits: Limits): string[] {
  const parts = ['row_bytes_max', 'chunk_bytes_max', 'flush_meta_bytes_max'] as const;
  return parts
    .filter((name) => wireBytesOfOne * limits[name] > limits.redis_wire_bytes_max)
    .map(
      (name) =>
        `${limitVariable('redis_wire_bytes_max')}: must be ${wireBytesOfOne} times ${limitVariable(name)} at least`,
    );
}

/** The environment variable of a limit. */
export function limitVariable(name: string): string {
  return `TIMESTORE_${name.toUpperCase()}`;
}

function count(initial: number) {
  const error = 'must be a whole number above 0';
  return z.coerce.number({ error }).int({ error }).positive({ error }).default(initial);
}
