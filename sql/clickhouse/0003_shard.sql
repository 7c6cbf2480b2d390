-- The shard number of this server. A lane's rows stay on one shard, but an address may later lead to another server.
CREATE TABLE IF NOT EXISTS timestore.shard
(
    `number` UInt32 COMMENT 'from 1, in the order of the addresses'
)
ENGINE = MergeTree
ORDER BY `number`;
