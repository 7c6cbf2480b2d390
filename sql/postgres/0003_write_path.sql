-- What the write path keeps on record beyond schemas and manifests.

-- What people call a dataset.
alter table datasets add column title text;

-- Counts the changes of a table's definition, so that an older one does not replace a newer one in a cache.
alter table tables add column revision integer not null default 1;

alter table manifests add column quarantined bigint not null default 0;   -- rows of the seal that ClickHouse refused
alter table manifests add column expired bigint not null default 0;       -- rows past their retention before they were there
alter table manifests add column inserts integer not null default 1;      -- more than one: views over the table may be off, rebuild them
alter table manifests add column batches jsonb not null default '[]';     -- what was said of batches: partition key, attributes, time range, actor

-- Rows that were deleted on purpose, so that an audit does not take them for lost. Whoever deletes writes this first.
create table deletions (
  id              bigint generated always as identity primary key,
  dataset         text not null,
  physical_table  text not null,
  lane            integer not null,
  partition       text not null,                      -- ClickHouse's partition id
  rows            bigint not null,                    -- that are gone from it
  deleted_at      timestamptz not null default now()
);

create index deletions_by_table on deletions (dataset, physical_table);

-- The newest audit of each table.
create table audits (
  dataset         text not null,
  name            text not null,
  audited_at      timestamptz not null default now(),
  missing         bigint not null,                    -- rows that should be in ClickHouse and are not
  doubled         bigint not null,                    -- rows that are there more than once
  unaccounted     bigint not null,                    -- rows that are there and on no record
  report          jsonb not null,
  primary key (dataset, name)
);
