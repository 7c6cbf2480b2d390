-- Each batch that ClickHouse was found to have whole. An insert leaves its rows out from then on, and a flush does not miss
-- them: those that are gone were deleted, and a hot buffer that fails over may bring the batch again.
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
-- Longer than any insert lives, and than a buffer fails over into its past.
TTL toDateTime(`stored_at`) + INTERVAL 90 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What earlier versions found, as far as they wrote it down.
INSERT INTO timestore.stored_batches (`dataset`, `table`, `lane`, `seq`, `received_at`)
SELECT `dataset`, `table`, `lane`, `watermark`, `received_at` FROM timestore.ingest_watermarks FINAL
 WHERE `received_at` != 0 AND (`dataset`, `table`, `lane`) NOT IN (SELECT `dataset`, `table`, `lane` FROM timestore.stored_batches);
