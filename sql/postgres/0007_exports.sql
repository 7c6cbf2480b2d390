-- Copies of rows in the object store, for whoever wants them elsewhere.

create table exports (
  n             bigint generated always as identity unique,
  id            text primary key,                       -- of the job that wrote it
  dataset       text not null,
  "table"       text not null,
  format        text not null,                          -- parquet | csv | ndjson
  time_from     timestamptz,                            -- null: open
  time_to       timestamptz,                            -- exclusive
  watermark     text not null,                          -- token of the cut that it is of
  columns       jsonb not null,                         -- [{"name": …, "type": the field's}]
  rows          bigint not null,
  bytes         bigint not null,
  objects       jsonb not null,                         -- one a day: [{"day": …, "key": …, "rows": …, "bytes": …, "checksum": …}]
  actor         text not null,
  published_at  timestamptz not null default now()
);

create index exports_by_table on exports (dataset, "table", n);
