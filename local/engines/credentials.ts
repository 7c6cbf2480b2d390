/**
 * The local engines listen on loopback only, so their passwords guard nothing: they are fixed, and exist so that
 * code which forgets to send credentials fails here as it would in production.
 */
export const local = {
  clickhouse: {
    writer: { user: 'timestore_writer', password: 'timestore-local-writer' },
    /** May do what sql/clickhouse/users.sql grants to the writer; the other one more, for tests. */
    granted: { user: 'timestore_granted', password: 'timestore-local-granted' },
    reader: { user: 'timestore_reader', password: 'timestore-local-reader' },
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
