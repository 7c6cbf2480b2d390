-- Who may do what. The secret half of a key is nowhere but with its holder.

create table api_keys (
  n            bigint generated always as identity unique,   -- the order in which they were made, for pages of a list
  id           text primary key,                      -- the half that names it
  name         text not null,                         -- for people
  secret_hash  text not null,                         -- SHA-256 of the other half, hexadecimal
  scopes       jsonb not null,                        -- {"ingest": "*", "query": ["a", "b"], …}
  row_filter   jsonb,                                 -- {"column": …, "value": …}: the only rows that it reads
  revision     integer not null default 1,            -- counts its changes, so that an older one does not replace a newer one in a cache
  created_at   timestamptz not null default now(),
  expires_at   timestamptz,
  revoked_at   timestamptz,
  replaced_by  text references api_keys (id)          -- what it was rotated to
);
