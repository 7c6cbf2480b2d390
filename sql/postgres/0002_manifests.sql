-- What each flush put where. A manifest is written once and never changed; its key names the seal, so that the same
-- flush told twice is one line.

create table manifests (
  id              text primary key,                   -- <dataset>/<physical table>/<incarnation>/<token of the seal>
  dataset         text not null,
  "table"         text not null,                      -- the name that clients use
  physical_table  text not null,                      -- the ClickHouse table, in database ts_<dataset>
  lane            integer not null,
  incarnation     text not null,
  token           text not null,                      -- insert token: <lane>:<from>-<to>:<hash of the batch ids>
  epoch           bigint not null,                    -- the lane's seal that this was
  seq_from        bigint not null,                    -- first batch
  seq_to          bigint not null,                    -- last batch
  rows            bigint not null,
  bytes           bigint not null,                    -- of the rows as they were buffered
  schema_version  integer not null,                   -- the newest among the batches
  checksum        text not null,                      -- over the partitions' checksums
  trigger         text not null,                      -- what started the flush
  flushed_at      timestamptz not null,               -- when its rows were counted in ClickHouse
  published_at    timestamptz not null default now()  -- when this line was written
);

create index manifests_by_table on manifests (dataset, "table", seq_from);

create table manifest_partitions (
  manifest_id   text not null references manifests (id),
  partition     text not null,                        -- ClickHouse's partition id
  rows          bigint not null,
  seq_from      bigint not null,
  seq_to        bigint not null,
  time_from     timestamptz not null,                 -- earliest event time
  time_to       timestamptz not null,                 -- latest event time
  checksum      text not null,                        -- exclusive or of the hashes of its rows' identities, hexadecimal
  primary key (manifest_id, partition)
);
