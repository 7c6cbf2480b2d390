-- Batches that ClickHouse had completely at some time. Later inserts omit their rows, and flushes do not report deleted rows of
-- them as missing: after a failover, the hot buffer may deliver a batch again.
CREATE TABLE IF NOT EXISTS timestore.stored_batches
(
    `dataset`     LowCardinality(String) COMMENT 'dataset, as clients name it',
    `table`       LowCardinality(String) COMMENT 'physical table',
    `lane`        UInt16                 COMMENT 'lane of the hot buffer',
    `seq`         UInt64                 COMMENT 'the batch: its sequence, and when the hot buffer acknowledged it' CODEC(Delta, ZSTD),
    `received_at` DateTime64(3, 'UTC')   CODEC(Delta, ZSTD),
    `stored_at`   DateTime64(3, 'UTC')   DEFAULT now64(3, 'UTC') COMMENT 'when, by this server''s clock' CODEC(Delta, ZSTD)
)
ENGINE = MergeTree
ORDER BY (`dataset`, `table`, `lane`, `seq`)
-- Longer than any insert runs, and longer than the past to which a failover can return.
TTL toDateTime(`stored_at`) + INTERVAL 90 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Batches that earlier versions recorded as watermarks.
INSERT INTO timestore.stored_batches (`dataset`, `table`, `lane`, `seq`, `received_at`)
SELECT `dataset`, `table`, `lane`, `watermark`, `received_at` FROM timestore.ingest_watermarks FINAL
 WHERE `received_at` != 0 AND (`dataset`, `table`, `lane`) NOT IN (SELECT `dataset`, `table`, `lane` FROM timestore.stored_batches);
