/**
 * The local engines listen on loopback only, so fixed passwords are enough. With them, code that sends no credentials
 * fails here as in production.
 */
export const local = {
  clickhouse: {
    writer: { user: 'timestore_writer', password: 'timestore-local-writer' },
    /** Has exactly the writer's grants of sql/clickhouse/users.sql; the local writer has more, for tests. */
    granted: { user: 'timestore_granted', password: 'timestore-local-granted' },
    reader: { user: 'timestore_reader', password: 'timestore-local-reader' },
    /** The user of sql/clickhouse/monitor-reader.sql. */
    monitorReader: { user: 'monitor_reader', password: 'timestore-local-monitor' },
  },
  upstash: { token: 'timestore-local-token' },
  postgres: { user: 'postgres', password: 'timestore-local', database: 'postgres' },
  s3: {
    accessKeyId: 'timestore-local',
    secretAccessKey: 'timestore-local-secret',
    region: 'auto',
    bucket: 'timestore',
  },
} as const;
