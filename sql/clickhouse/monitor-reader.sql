-- A user for tools that read the tables of the monitored dataset `monitor` in ClickHouse, past Timestore. It reads these three
-- tables and nothing else. Replace the dots by a password of your own.

CREATE USER IF NOT EXISTS monitor_reader IDENTIFIED WITH sha256_password BY '…' SETTINGS
    readonly = 2,
    max_execution_time = 30 MIN 0.001 MAX 60,
    max_memory_usage = 1073741824 MIN 1048576 MAX 1073741824,
    allow_ddl = 0 CONST;
GRANT SELECT ON ts_monitor.service_status TO monitor_reader;
GRANT SELECT ON ts_monitor.service_metrics TO monitor_reader;
GRANT SELECT ON ts_monitor.service_logs TO monitor_reader;
