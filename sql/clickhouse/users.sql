-- The two ClickHouse users of Timestore, their grants, and the limits of queries. Replace the dots by your own passwords. The
-- local server takes its users from this file, so tests run with the grants of a deployment.

CREATE USER IF NOT EXISTS timestore_writer IDENTIFIED BY '…';
GRANT ALL ON ts_*.* TO timestore_writer;
GRANT ALL ON timestore.* TO timestore_writer;
GRANT CREATE TEMPORARY TABLE ON *.* TO timestore_writer;
GRANT TABLE ENGINE ON * TO timestore_writer;
-- Backups, exports, imports.
GRANT READ, WRITE ON S3 TO timestore_writer;
GRANT SELECT ON system.mutations TO timestore_writer;
GRANT SELECT ON system.parts TO timestore_writer;
GRANT SELECT ON system.processes TO timestore_writer;
-- For cancelling queries of the reader.
GRANT KILL QUERY ON *.* TO timestore_writer;
GRANT SELECT ON system.disks TO timestore_writer;
GRANT SELECT ON system.storage_policies TO timestore_writer;
-- Optional: for the slowest queries of a dataset.
GRANT SELECT ON system.query_log TO timestore_writer;
-- Only necessary for ClickHouse Cloud and clusters.
GRANT READ, WRITE ON REMOTE TO timestore_writer;
GRANT SELECT ON system.clusters TO timestore_writer;

-- Read-only. A query may change its settings within the constraints. 0 would mean no limit, so each setting has a MIN.
CREATE USER IF NOT EXISTS timestore_reader IDENTIFIED BY '…' SETTINGS
    readonly = 2,
    max_execution_time = 30 MIN 0.001 MAX 600,
    max_memory_usage = 4294967296 MIN 1048576 MAX 4294967296,
    -- For all queries together. Keep it below the server's memory, so that flushes have the rest.
    max_memory_usage_for_user = 8589934592 MIN 1048576 MAX 8589934592,
    max_query_size = 8388608 MIN 1 MAX 8388608,
    max_ast_depth = 1000 MIN 1 MAX 1000,
    max_ast_elements = 50000 MIN 1 MAX 50000,
    max_threads = 8 MIN 1 MAX 16,
    max_concurrent_queries_for_user = 64 MIN 1 MAX 64,
    -- The reader must not extend its access or hide its queries from the log.
    log_queries = 1 CONST,
    allow_introspection_functions = 0 CONST,
    allow_ddl = 0 CONST;
GRANT SELECT ON ts_*.* TO timestore_reader;
GRANT SELECT ON timestore.ingest_watermarks TO timestore_reader;
-- For external tables of requests. It gives no access to sources: url(), s3() and file() need grants of their own.
GRANT CREATE TEMPORARY TABLE ON *.* TO timestore_reader;
