-- Rows of seals that their tables refused, which are in quarantine instead. Every insert of a seal leaves them out, also
-- one that a flusher sends late which knew nothing of the refusal: by then they may have been sent again as new rows.
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
-- Longer than any function that holds a seal can sleep.
TTL toDateTime(`skipped_at`) + INTERVAL 90 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
