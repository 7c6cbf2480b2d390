-- Which shard of the cluster a server is: an address may come to name another server, and a lane's rows are on one shard for ever.
CREATE TABLE IF NOT EXISTS timestore.shard
(
    `number` UInt32 COMMENT 'from 1, in the order of the addresses'
)
ENGINE = MergeTree
ORDER BY `number`;
