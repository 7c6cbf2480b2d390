-- What exists: datasets, their tables, and every version of every table's schema.

create table datasets (
  name        text primary key,                       -- a slug
  created_at  timestamptz not null default now()
);

create table tables (
  dataset       text not null references datasets (name),
  name          text not null,                        -- a slug, the name that clients use
  life          integer not null default 1,           -- counts the tables that had this name
  definition    jsonb not null,                       -- partition window and lanes: what is not the schema
  schema_version integer not null,                    -- the newest version; changed by compare-and-set only
  created_at    timestamptz not null default now(),
  dropped_at    timestamptz,
  primary key (dataset, name, life)
);

-- A name belongs to one living table.
create unique index tables_living on tables (dataset, name) where dropped_at is null;

create table schema_versions (
  dataset     text not null,
  name        text not null,
  life        integer not null,
  version     integer not null,
  schema      text not null,                          -- canonical JSON
  checksum    text not null,                          -- SHA-256 of it, hexadecimal
  created_at  timestamptz not null default now(),
  primary key (dataset, name, life, version),
  foreign key (dataset, name, life) references tables (dataset, name, life)
);

-- One line for each life of a lane's state in the hot buffer.
create table lanes (
  dataset      text not null,
  name         text not null,
  life         integer not null,
  lane         integer not null,
  incarnation  text not null,                         -- random; part of every token
  watermark    bigint not null,                       -- the sequence it began after
  created_at   timestamptz not null default now(),
  primary key (dataset, name, life, lane, incarnation)
);
