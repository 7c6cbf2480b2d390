-- Exports by the clock, and who is told of them.

create table export_schedules (
  dataset   text not null,
  "table"   text not null,
  hour      integer not null,                          -- of the day, in UTC
  days      integer not null,                          -- so many whole days before it, each time
  format    text not null,
  columns   jsonb,                                     -- null: all that there are
  next_at   timestamptz not null,
  actor     text not null,
  buffer    text not null,                             -- prefix of the hot buffer's keys: who has another works on others
  primary key (buffer, dataset, "table")
);

create table webhooks (
  id          text primary key,
  url         text not null,
  secret      text not null,                           -- what deliveries are signed with; told once
  events      jsonb not null,                          -- ["export.published", …]
  datasets    jsonb,                                   -- null: all
  actor       text not null,
  buffer      text not null,
  created_at  timestamptz not null default now()
);

-- Its deliveries are jobs of kind notify.
create index jobs_of_webhooks on jobs ((request->>'webhook'), n) where kind = 'notify';
