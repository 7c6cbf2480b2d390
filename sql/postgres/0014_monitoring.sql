-- Service monitoring: its configuration, its state, what happened and who was notified.

-- Services, relations, rules, channels, silences, maintenance windows, pages and SLOs are documents with a key of their own.
create table monitor_resources (
  buffer      text not null,                          -- prefix of the hot buffer's keys: each deployment has its own
  dataset     text not null,
  kind        text not null,                          -- service | relation | rule | channel | silence | maintenance | page | slo
  id          text not null,
  definition  jsonb not null,                         -- without secrets
  revision    integer not null default 1,
  created_at  timestamptz not null default now(),
  changed_at  timestamptz not null default now(),
  actor       text not null,                          -- the key that wrote it last
  primary key (buffer, dataset, kind, id)
);

-- Values that definitions name and that no answer contains.
create table monitor_secrets (
  buffer      text not null,
  dataset     text not null,
  name        text not null,
  value       text not null,
  changed_at  timestamptz not null default now(),
  primary key (buffer, dataset, name)
);

-- Datasets that are monitored. The revision grows with each change of a resource or a secret of the dataset.
create table monitor_datasets (
  buffer      text not null,
  dataset     text not null,
  revision    bigint not null default 1,
  primary key (buffer, dataset)
);

-- Addresses that services ping. Only the hash of the token is stored.
create table monitor_heartbeats (
  token_hash  text primary key,
  buffer      text not null,
  dataset     text not null,
  service_id  text not null,
  created_at  timestamptz not null default now()
);
create index monitor_heartbeats_of on monitor_heartbeats (buffer, dataset, service_id);

-- The version of a dataset's alert state. A commit of an evaluation compares and sets it.
create table alert_states (
  buffer        text not null,
  dataset       text not null,
  version       bigint not null default 0,
  evaluated_at  timestamptz not null default '-infinity',
  primary key (buffer, dataset)
);

-- Alert instances that are not normal.
create table alert_instances (
  buffer       text not null,
  dataset      text not null,
  rule_id      text not null,
  fingerprint  text not null,                         -- of the labels that name the instance
  service_id   text not null,
  state        text not null,                         -- pending | firing | recovering
  instance     jsonb not null,                        -- the whole state, with labels and who was notified
  primary key (buffer, dataset, rule_id, fingerprint)
);

-- The number of the last episode of an instance that is normal again.
create table alert_episodes (
  buffer       text not null,
  dataset      text not null,
  rule_id      text not null,
  fingerprint  text not null,
  episode      integer not null,
  primary key (buffer, dataset, rule_id, fingerprint)
);

-- History of alerts.
create table alert_events (
  n            bigint generated always as identity unique,
  buffer       text not null,
  dataset      text not null,
  id           text not null,                         -- <rule>/<fingerprint>/<episode>/<kind>
  at           timestamptz not null,                  -- the minute that it belongs to
  kind         text not null,                         -- fired | resolved | changed | acknowledged | repeat-<n> | step-<n>
  rule_id      text not null,
  fingerprint  text not null,
  service_id   text not null,
  episode      integer not null,
  detail       jsonb not null,                        -- reason, severity, value, times, labels, why it was muted
  primary key (buffer, dataset, id)
);
create index alert_events_newest on alert_events (buffer, dataset, n);

-- Which channel is notified of which event. A row without a message waits in its group.
create table alert_notices (
  n            bigint generated always as identity unique,
  buffer       text not null,
  dataset      text not null,
  channel      text not null,
  event        text not null,                         -- id of the event
  kind         text not null,
  rule_id      text not null,
  fingerprint  text not null,
  episode      integer not null,
  group_key    text not null,
  alert        jsonb not null,                        -- what the message says of it
  message      text,                                  -- id of the job that delivers it
  created_at   timestamptz not null default now(),
  primary key (buffer, dataset, channel, event)
);
create index alert_notices_of on alert_notices (buffer, dataset, rule_id, fingerprint, episode);
create index alert_notices_waiting on alert_notices (buffer, dataset, channel, group_key) where message is null;

-- Groups of notices that wait to be sent together.
create table notification_groups (
  buffer      text not null,
  dataset     text not null,
  channel     text not null,
  group_key   text not null,
  seq         bigint not null default 0,              -- number of the last message
  due_at      timestamptz,                            -- null: nothing waits
  next_at     timestamptz,                            -- earliest time of the next message
  primary key (buffer, dataset, channel, group_key)
);
create index notification_groups_due on notification_groups (buffer, due_at) where due_at is not null;

-- Channels that refused messages. A later success ends it.
create table monitor_channel_states (
  buffer     text not null,
  dataset    text not null,
  channel    text not null,
  episode    integer not null default 1,              -- how often it has broken
  reason     text not null,
  broken_at  timestamptz not null default now(),
  works_at   timestamptz,                             -- null: it is broken
  primary key (buffer, dataset, channel)
);

create table incidents (
  n             bigint generated always as identity unique,
  buffer        text not null,
  dataset       text not null,
  id            text not null,
  title         text not null,
  impact        text not null,                        -- none | minor | major | critical
  status        text not null,                        -- investigating | identified | monitoring | resolved
  root_service  text,
  is_automatic  boolean not null,
  is_public     boolean not null,
  opened_at     timestamptz not null,
  resolved_at   timestamptz,
  revision      integer not null default 1,
  primary key (buffer, dataset, id)
);
create index incidents_open on incidents (buffer, dataset) where resolved_at is null;
-- Evaluations of several shards may open one for the same service at once.
create unique index incidents_of_root on incidents (buffer, dataset, root_service) where is_automatic and resolved_at is null;

create table incident_updates (
  buffer    text not null,
  dataset   text not null,
  incident  text not null,
  n         integer not null,
  at        timestamptz not null default now(),
  status    text not null,
  body      text not null,
  actor     text not null,
  primary key (buffer, dataset, incident, n)
);

create table incident_alerts (
  buffer       text not null,
  dataset      text not null,
  incident     text not null,
  rule_id      text not null,
  fingerprint  text not null,
  episode      integer not null,
  resolved_at  timestamptz,
  primary key (buffer, dataset, rule_id, fingerprint, episode)
);
create index incident_alerts_of on incident_alerts (buffer, dataset, incident);

-- Jobs with the same order key run one after the other.
alter table jobs add column order_key text;
create index jobs_in_order on jobs (buffer, order_key, n) where order_key is not null and state in ('queued', 'running');
create index jobs_alerts on jobs (buffer, dataset, n) where kind = 'alert';
