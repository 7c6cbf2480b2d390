-- Rows of seals that ClickHouse rejected and that are quarantined instead. Every insert of a seal omits these rows, including
-- a late insert of a flusher that started before the rejection: by then the rows may have been replayed as new rows.
CREATE TABLE IF NOT EXISTS timestore.skipped_rows
(
    `dataset`    String                             COMMENT 'dataset, as clients name it',
    `table`      String                             COMMENT 'physical table',
    `lane`       UInt16                             COMMENT 'lane, batch and place: the identity of the row',
    `seq`        UInt64,
    `row`        UInt32,
    `skipped_at` DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'when, by this server''s clock: an insert that begins later leaves the row out'
)
ENGINE = MergeTree
ORDER BY (`dataset`, `table`, `lane`, `seq`, `row`)
-- Longer than a function with a seal can be suspended.
TTL toDateTime(`skipped_at`) + INTERVAL 90 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
