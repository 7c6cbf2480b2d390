-- SQL that is kept under a name.

create table saved_queries (
  dataset      text not null references datasets (name),  -- where its tables are that it names without a dataset
  name         text not null,                             -- a slug, one of the dataset's
  sql          text not null,                             -- as it was sent; checked each time it runs, like any other
  description  text not null default '',
  params       jsonb not null default '{}',               -- values of its parameters that a caller leaves out
  saved_at     timestamptz not null default now(),
  primary key (dataset, name)
);
