-- The shape of every table that rows are stored in; <names in angle brackets> are filled in from its schema.
CREATE TABLE IF NOT EXISTS <table>
(
    `_lane`        UInt16                               COMMENT 'lane of the hot buffer the row came through',
    `_seq`         UInt64                               COMMENT 'batch within the lane, from 1, without gaps',
    `_row`         UInt32                               COMMENT 'place within the batch, from 0',
    `_received_at` DateTime64(3, 'UTC')                 COMMENT 'when the hot buffer acknowledged the batch' CODEC(Delta, ZSTD),
    `_partition`   Map(LowCardinality(String), String)  COMMENT 'partition key the batch was sent with, if any',
<fields>,
    -- Counting the rows of a seal reads only the parts they are in.
    INDEX `_seq_range` `_seq` TYPE minmax GRANULARITY 1,
    -- Whether a batch was acknowledged after another one that has a later sequence.
    INDEX `_received_range` `_received_at` TYPE minmax GRANULARITY 1
)
ENGINE = <engine>
PARTITION BY <partition>
ORDER BY (<order>)<ttl>
SETTINGS
    -- Tokens of inserts are remembered by block and partition: more of them than blocks can come in the longest life of an insert.
    <deduplication>,
    -- What the buffer trims must have reached the disk.
    fsync_after_insert = 1,
    fsync_part_directory = 1<settings>
