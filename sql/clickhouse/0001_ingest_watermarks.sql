-- The heartbeat of flushes: the watermark of each lane, written just before a flush publishes its rows.
CREATE DATABASE IF NOT EXISTS timestore;

CREATE TABLE IF NOT EXISTS timestore.ingest_watermarks
(
    `dataset`             String               COMMENT 'dataset, as clients name it',
    `table`               String               COMMENT 'physical table: the name, and a number from its second life on',
    `lane`                UInt16               COMMENT 'lane of the hot buffer',
    `watermark`           UInt64               COMMENT 'every row of the lane with a sequence up to this is visible here',
    `clickhouse_revision` UInt64               COMMENT 'revision of the server that took the rows',
    `flushed_at`          DateTime64(3, 'UTC') COMMENT 'when, by this server''s clock'
)
ENGINE = ReplacingMergeTree(watermark)
ORDER BY (`dataset`, `table`, `lane`);
