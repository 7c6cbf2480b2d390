const milliseconds = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];

/**
 * Every metric there is: what dashboards and alert rules may name. Counters and histograms are sums over all instances;
 * gauges are read from the stores when they are asked for.
 */
export const metrics = {
  timestore_requests_total: { type: 'counter', help: 'Requests answered, by kind and status' },
  timestore_request_duration_ms: {
    type: 'histogram',
    help: 'Time to an answer or its beginning',
    buckets: milliseconds,
  },
  timestore_problems_total: { type: 'counter', help: 'Problem answers, by code' },
  timestore_ingest_rows_total: { type: 'counter', help: 'Rows accepted, by dataset' },
  timestore_ingest_replayed_total: { type: 'counter', help: 'Requests that had been accepted before' },
  timestore_rejected_rows_total: { type: 'counter', help: 'Rows refused, by code' },
  timestore_quarantined_rows_total: {
    type: 'counter',
    help: 'Rows set aside, by dataset; origin says whether a request or a flush found them',
  },
  timestore_query_total: { type: 'counter', help: 'Queries answered, by freshness mode' },
  timestore_query_tail_rows_total: { type: 'counter', help: 'Rows of the hot buffer merged into queries' },
  timestore_read_compared_total: {
    type: 'counter',
    help: 'Answers of the original compared with those given here, by dataset and outcome',
  },
  timestore_flush_total: { type: 'counter', help: 'Flushes that had something to do, by outcome and trigger' },
  timestore_flush_rows_total: { type: 'counter', help: 'Rows moved to ClickHouse and published' },
  timestore_flush_duration_ms: {
    type: 'histogram',
    help: 'Time of a flush, from lease to publish',
    buckets: milliseconds,
  },
  timestore_alarms_total: { type: 'counter', help: 'Events that should never happen, by event' },
  timestore_jobs_total: { type: 'counter', help: 'Steps of jobs, by kind and outcome' },
  timestore_store_latency_ms: { type: 'histogram', help: 'Time of calls to stores', buckets: milliseconds },
  timestore_store_errors_total: { type: 'counter', help: 'Calls to stores that failed' },

  timestore_replica_age_ms: { type: 'gauge', help: 'Age of the oldest acknowledged row that is not in ClickHouse' },
  timestore_hot_tail_rows: { type: 'gauge', help: 'Acknowledged rows that are not in ClickHouse' },
  timestore_hot_tail_bytes: { type: 'gauge', help: 'Their bytes in the hot buffer' },
  timestore_flush_failures: { type: 'gauge', help: 'Flushes of a lane that failed in a row' },
  timestore_lanes_pending: { type: 'gauge', help: 'Lanes with rows that are not in ClickHouse' },
  timestore_buffer_used_bytes: { type: 'gauge', help: 'Memory that the hot buffer uses' },
  timestore_buffer_max_bytes: {
    type: 'gauge',
    help: 'Memory beyond which it takes no new rows, where there is a limit',
  },
  timestore_idempotency_bytes: { type: 'gauge', help: 'Memory of the hot buffer for keys of requests, by dataset' },
  timestore_outbox_manifests: { type: 'gauge', help: 'Manifests on their way to Postgres' },
  timestore_refused_manifests: { type: 'gauge', help: 'Manifests that Postgres refused, set aside' },
  timestore_store_up: { type: 'gauge', help: '1 if a store can be used just now' },
  timestore_jobs: { type: 'gauge', help: 'Jobs by state, but for those that are done or cancelled' },
  timestore_mirror_age_seconds: {
    type: 'gauge',
    help: 'Time since the original had everything that was published of a table',
  },
  timestore_mirror_stopped_lanes: { type: 'gauge', help: 'Lanes of which the original has refused rows' },
  timestore_drift: { type: 'gauge', help: 'Differences between the catalogue and ClickHouse that were not mended' },
  timestore_reconcile_age_seconds: { type: 'gauge', help: 'Time since the table longest not looked at was' },
  timestore_backup_age_seconds: { type: 'gauge', help: 'Time since the newest backup that is whole; +Inf without one' },

  timestore_audit_missing_rows: {
    type: 'gauge',
    help: 'Rows that should be in ClickHouse and are not, by the newest audit',
  },
  timestore_audit_doubled_rows: { type: 'gauge', help: 'Rows that are in ClickHouse more than once' },
  timestore_audit_unaccounted_rows: { type: 'gauge', help: 'Rows in ClickHouse that are on no record' },
  timestore_audit_ok: { type: 'gauge', help: '1 if everything added up in the newest audit, the hot buffer included' },
  timestore_audit_age_seconds: { type: 'gauge', help: 'Time since the newest audit' },
} as const satisfies Record<string, { type: string; help: string; buckets?: number[] }>;

export type MetricName = keyof typeof metrics;
type Of<Type> = { [Name in MetricName]: (typeof metrics)[Name]['type'] extends Type ? Name : never }[MetricName];
export type CounterName = Of<'counter'>;
export type HistogramName = Of<'histogram'>;
export type GaugeName = Of<'gauge'>;
