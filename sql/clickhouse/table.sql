-- Template of every table for rows. <Names in angle brackets> are replaced from the table's schema.
CREATE TABLE IF NOT EXISTS <table>
(
    `_lane`        UInt16                               COMMENT 'lane of the hot buffer the row came through',
    `_seq`         UInt64                               COMMENT 'batch within the lane, from 1, without gaps',
    `_row`         UInt32                               COMMENT 'place within the batch, from 0',
    `_received_at` DateTime64(3, 'UTC')                 COMMENT 'when the hot buffer acknowledged the batch' CODEC(Delta, ZSTD),
    `_partition`   Map(LowCardinality(String), String)  COMMENT 'partition key the batch was sent with, if any',
<fields>,
    -- So that counting the rows of a seal reads only the parts that contain them.
    INDEX `_seq_range` `_seq` TYPE minmax GRANULARITY 1,
    -- For finding batches that were acknowledged after batches with later sequences.
    INDEX `_received_range` `_received_at` TYPE minmax GRANULARITY 1
)
ENGINE = <engine>
PARTITION BY <partition>
ORDER BY (<order>)<ttl>
SETTINGS
    -- ClickHouse remembers deduplication tokens by block and partition: more than the blocks that can arrive while one insert runs.
    <deduplication>,
    -- The buffer may trim rows only when they are on disk.
    fsync_after_insert = 1,
    fsync_part_directory = 1<settings>
