const milliseconds = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];

/**
 * All metrics. Dashboards and alert rules use these names. Counters and histograms are sums over all instances; gauges are
 * read from the stores at each scrape.
 */
export const metrics = {
  timestore_requests_total: { type: 'counter', help: 'Requests answered, by kind and status' },
  timestore_request_duration_ms: {
    type: 'histogram',
    help: 'Time to the response, or to its first byte',
    buckets: milliseconds,
  },
  timestore_problems_total: { type: 'counter', help: 'Problem answers, by code' },
  timestore_ingest_rows_total: { type: 'counter', help: 'Rows accepted, by dataset' },
  timestore_ingest_replayed_total: { type: 'counter', help: 'Retried requests that were stored before' },
  timestore_rejected_rows_total: { type: 'counter', help: 'Rejected rows, by code' },
  timestore_quarantined_rows_total: {
    type: 'counter',
    help: 'Quarantined rows, by dataset and origin (request or flush)',
  },
  timestore_query_total: { type: 'counter', help: 'Queries answered, by freshness mode' },
  timestore_query_tail_rows_total: { type: 'counter', help: 'Rows of the hot buffer merged into queries' },
  timestore_read_compared_total: {
    type: 'counter',
    help: 'Shadow reads, by dataset and outcome',
  },
  timestore_flush_total: { type: 'counter', help: 'Flushes with pending rows, by outcome and trigger' },
  timestore_flush_rows_total: { type: 'counter', help: 'Rows moved to ClickHouse and published' },
  timestore_flush_duration_ms: {
    type: 'histogram',
    help: 'Time of a flush, from lease to publish',
    buckets: milliseconds,
  },
  timestore_alarms_total: { type: 'counter', help: 'Events that should never happen, by event' },
  timestore_jobs_total: { type: 'counter', help: 'Steps of jobs, by kind and outcome' },
  timestore_store_latency_ms: { type: 'histogram', help: 'Duration of store calls', buckets: milliseconds },
  timestore_store_errors_total: { type: 'counter', help: 'Failed store calls' },

  timestore_replica_age_ms: { type: 'gauge', help: 'Age of the oldest acknowledged row that is not in ClickHouse' },
  timestore_hot_tail_rows: { type: 'gauge', help: 'Acknowledged rows that are not in ClickHouse' },
  timestore_hot_tail_bytes: { type: 'gauge', help: 'Bytes of acknowledged rows that are not in ClickHouse' },
  timestore_flush_failures: { type: 'gauge', help: 'Consecutive failed flushes of a lane' },
  timestore_lanes_pending: { type: 'gauge', help: 'Lanes with rows that are not in ClickHouse' },
  timestore_buffer_used_bytes: { type: 'gauge', help: 'Used memory of the hot buffer' },
  timestore_buffer_max_bytes: {
    type: 'gauge',
    help: 'Memory limit of the hot buffer, if it has one',
  },
  timestore_idempotency_bytes: { type: 'gauge', help: 'Memory of idempotency keys in the hot buffer, by dataset' },
  timestore_outbox_manifests: { type: 'gauge', help: 'Manifests that are not in Postgres yet' },
  timestore_refused_manifests: { type: 'gauge', help: 'Manifests that Postgres rejected' },
  timestore_store_up: { type: 'gauge', help: '1 if the store is available' },
  timestore_jobs: { type: 'gauge', help: 'Jobs by state, without completed and cancelled jobs' },
  timestore_mirror_age_seconds: {
    type: 'gauge',
    help: 'Time since the source system had all published rows of a table',
  },
  timestore_mirror_stopped_lanes: { type: 'gauge', help: 'Lanes with rows that the source system rejected' },
  timestore_drift: { type: 'gauge', help: 'Unrepaired differences between the catalogue and ClickHouse' },
  timestore_reconcile_age_seconds: { type: 'gauge', help: 'Age of the oldest reconciliation of a table' },
  timestore_backup_age_seconds: { type: 'gauge', help: 'Age of the newest complete backup; +Inf without a backup' },

  timestore_audit_missing_rows: {
    type: 'gauge',
    help: 'Rows missing in ClickHouse, by the newest audit',
  },
  timestore_audit_doubled_rows: { type: 'gauge', help: 'Duplicate rows in ClickHouse' },
  timestore_audit_unaccounted_rows: { type: 'gauge', help: 'Rows in ClickHouse without a record of their origin' },
  timestore_audit_ok: { type: 'gauge', help: '1 if the newest audit found no difference, hot buffer included' },
  timestore_audit_age_seconds: { type: 'gauge', help: 'Age of the newest audit' },
} as const satisfies Record<string, { type: string; help: string; buckets?: number[] }>;

export type MetricName = keyof typeof metrics;
type NamesOfType<Type> = {
  [Name in MetricName]: (typeof metrics)[Name]['type'] extends Type ? Name : never;
}[MetricName];
export type CounterName = NamesOfType<'counter'>;
export type HistogramName = NamesOfType<'histogram'>;
export type GaugeName = NamesOfType<'gauge'>;
