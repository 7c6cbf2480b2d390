import * as z from 'zod';

/** All limits with their defaults. The environment variable of a limit is `TIMESTORE_` and its name in capitals. */
export const limitsSchema = z.object({
  body_bytes_max: count(10 * 1024 * 1024),
  // All bodies and seals in work on an instance. Each needs several times its size of the 128 MiB of a Worker.
  instance_bytes_max: count(10 * 1024 * 1024),
  request_rows_max: count(50_000),
  row_bytes_max: count(1024 * 1024),
  chunk_bytes_max: count(512 * 1024),
  // Every table costs a ClickHouse table and lanes in the hot buffer, and reconciliation visits each one hourly.
  dataset_tables_max: count(1_000),
  table_fields_max: count(1_000),
  table_defaults_bytes_max: count(64 * 1024),
  idempotency_ms: count(24 * 3_600_000),
  // For a request without an Idempotency-Key: only the Redis client of this deployment retries it.
  idempotency_auto_ms: count(10 * 60_000),
  // Memory of all idempotency keys of a dataset, and the part that other datasets cannot take from it.
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
  // Metadata of the batches of a flush, which its manifest contains.
  flush_meta_bytes_max: count(1024 * 1024),
  insert_timeout_ms: count(30_000),
  lease_ms: count(60_000),
  // Manifests not yet in Postgres. They share one Redis key, and Upstash accepts 100 MB for a key.
  outbox_max: count(10_000),
  outbox_bytes_max: count(64 * 1024 * 1024),
  // The newest manifests that Postgres rejected, kept in one Redis key for inspection.
  refused_manifests_max: count(64),
  retry_ms: count(1_000),
  retry_ms_max: count(60_000),
  probe_ms: count(20_000),
  // Size on the wire of a request to the hot buffer and of its reply. Upstash accepts 10 MiB each.
  redis_wire_bytes_max: count(9_500_000),
  // One attempt of a command. Scripts run for milliseconds; the rest is the network.
  redis_timeout_ms: count(5_000),
  replicas_timeout_ms: count(2_000),
  quarantine_rows_max: count(10_000),
  quarantine_inline_bytes_max: count(64 * 1024),
  partition_key_entries_max: count(16),
  partition_meta_bytes_max: count(4 * 1024),
  lanes_max: count(64),
  // Lanes of a table that ingest creates.
  lanes_default: count(1),
  audit_every_ms: count(6 * 3_600_000),
  // A step of a job without a sign of life for this long is taken over.
  job_claim_ms: count(120_000),
  reconcile_every_ms: count(3_600_000),
  // An unreferenced object that is younger may belong to an operation in progress.
  orphan_age_ms: count(24 * 3_600_000),
  tail_rows_max: count(50_000),
  tail_bytes_max: count(8 * 1024 * 1024),
  // Caches of an instance: table definitions are counted by their fields, keys and others by entries.
  kept_fields_max: count(50_000),
  kept_names_max: count(10_000),
  kept_tails_chars_max: count(12 * 1024 * 1024),
  query_rows_default: count(10_000),
  query_rows_max: count(500_000),
  query_timeout_ms: count(30_000),
  // Rows that one insert of an import moves.
  import_rows_max: count(1_000_000),
  // An export is as slow as its reader.
  export_timeout_ms: count(600_000),
  // Part of a response that is buffered before it is sent. Longer responses are streamed.
  query_held_bytes_max: count(2 * 1024 * 1024),
  // Up to this many rows, reading one more column costs less than a second request to the hot buffer.
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
  // Time to the first byte of a response of the source system.
  origin_timeout_ms: count(30_000),
  // Shadow reads do not compare longer responses.
  compared_bytes_max: count(2 * 1024 * 1024),
  // Concurrent shadow reads of an instance. Each holds two responses.
  comparisons_max: count(4),
  // One request of the mirror. A batch is never split: a larger one is a request of its own.
  mirror_rows_max: count(5_000),
  mirror_bytes_max: count(4 * 1024 * 1024),
  // Resources of service monitoring of a dataset. An evaluation reads all of them.
  monitor_services_max: count(10_000),
  monitor_relations_max: count(20_000),
  monitor_rules_max: count(20_000),
  monitor_channels_max: count(500),
  monitor_silences_max: count(2_000),
  monitor_maintenances_max: count(1_000),
  monitor_pages_max: count(100),
  monitor_slos_max: count(2_000),
  monitor_secrets_max: count(10_000),
  monitor_definition_bytes_max: count(64 * 1024),
  // Checks of a minute, in one invocation that has six connections.
  monitor_checks_without_queue_max: count(200),
});

export type Limits = z.output<typeof limitsSchema>;

/** Nested escapes can turn one byte of a row into eight bytes on the wire. */
const wireBytesPerByte_max = 8;

/** A batch, and the metadata of the batches of a flush, must each fit into one request to the hot buffer. */
export function tooSmallFor(limits: Limits): string[] {
  const parts = ['row_bytes_max', 'chunk_bytes_max', 'flush_meta_bytes_max'] as const;
  return parts
    .filter((name) => wireBytesPerByte_max * limits[name] > limits.redis_wire_bytes_max)
    .map(
      (name) =>
        `${limitVariable('redis_wire_bytes_max')}: must be at least ${wireBytesPerByte_max} times ${limitVariable(name)}`,
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
