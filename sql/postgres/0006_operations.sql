-- What an operator changes, who changed what, and work that outlives a request.

-- active; frozen: takes no rows; archived: takes no rows and is left out of lists; deleting: gone for readers, and really
-- gone after delete_at.
alter table datasets add column state text not null default 'active';
alter table datasets add column delete_at timestamptz;
alter table datasets add column dropped_at timestamptz;             -- the name is free again; a write makes it anew
alter table datasets add column retention jsonb;                    -- {"totalDays": …, "hotDays": …}, for tables without their own
alter table datasets add column quota jsonb;                        -- {"rowsPerDay": …, "bytesPerDay": …, "storageBytes": …}
alter table datasets add column revision integer not null default 1;

alter table tables add column state text not null default 'active';
alter table tables add column delete_at timestamptz;

-- One line for each change, and for each kind of access that was refused.
create table audit_log (
  n           bigint generated always as identity primary key,
  at          timestamptz not null default now(),
  actor       text not null,                          -- id of a key, admin: the deployment's own, cron, or unknown
  request_id  text not null,                          -- as in the log of requests; '' for what no request began
  action      text not null,                          -- table.change, key.revoke, …; of a refused access its method and route
  outcome     text not null default 'done',           -- done | refused
  dataset     text,
  "table"     text,
  count       integer not null default 1,             -- how often within a second, of what was refused
  detail      jsonb not null default '{}'
);

create index audit_log_by_dataset on audit_log (dataset, n);

-- Work in steps, each of which may be repeated.
create table jobs (
  n              bigint generated always as identity unique,
  id             text primary key,
  kind           text not null,                       -- delete-rows, correct-rows, drop-table, drop-dataset, apply-retention, backup, restore
  dataset        text,
  "table"        text,
  state          text not null default 'queued',      -- queued | running | done | failed | cancelled
  request        jsonb not null,                      -- what was asked for
  progress       jsonb not null default '{}',         -- what later steps need of earlier ones
  result         jsonb,                               -- the receipt
  error          text,                                -- why the last step failed, in words for people
  buffer         text not null,                       -- prefix of the hot buffer's keys: who has another takes other jobs
  attempts       integer not null default 0,          -- steps that failed in a row
  actor          text not null,
  request_id     text not null,
  created_at     timestamptz not null default now(),
  due_at         timestamptz not null default now(),  -- when its next step may run
  claim          text,                                -- who works on it
  claimed_until  timestamptz,                         -- and is heard of until then, or another one takes it
  finished_at    timestamptz
);

create index jobs_due on jobs (buffer, due_at) where state in ('queued', 'running');

-- For pages of a table's manifests, the newest first.
create index manifests_by_time on manifests (dataset, physical_table, flushed_at, id);

-- Which job deleted rows, and when they were gone: before that they may be there or not.
alter table deletions add column job text;
alter table deletions add column done_at timestamptz default now();
create unique index deletions_by_job on deletions (job, lane, partition) where job is not null;

-- The newest look at whether ClickHouse is as the catalogue says.
create table reconciliations (
  dataset        text not null,
  name           text not null,
  reconciled_at  timestamptz not null default now(),
  drift          jsonb not null,                      -- what was found: [{"what": …, "detail": …, "mended": true | false}]
  primary key (dataset, name)
);
