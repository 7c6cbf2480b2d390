-- Datasets that are taken over from another system, the original.

-- Null: this deployment alone reads and writes. Else {"reads": "off" | "compare" | "on", "mirror": true | false}, and while
-- there is a mirror "since": the revision with which it was switched on, and "buffer": whose jobs it has.
alter table datasets add column migration jsonb;

-- The newest answers of the original that were other ones than those given here.
create table read_comparisons (
  n           bigint generated always as identity primary key,
  at          timestamptz not null default now(),
  dataset     text not null,
  "table"     text not null,
  request_id  text not null,
  query       text not null,                          -- the body, as it was sent
  reason      text not null,                          -- rows | order | refused
  fields      jsonb not null,                         -- in which the first row that differs does
  counts      jsonb not null,                         -- {"origin", "here", "originOnly", "hereOnly"}: rows
  origin_only jsonb not null,                         -- rows that only the original has, the first of them
  here_only   jsonb not null                          -- and those that only this deployment has
);

create index read_comparisons_by_dataset on read_comparisons (dataset, n);
