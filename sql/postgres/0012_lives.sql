-- Records of a dataset or a table say which life of its name they belong to: the next life has none of them.

-- Counts the datasets that had this name, as `life` of a table does: one more as soon as the name is free again.
alter table datasets add column life integer not null default 1;
update datasets set life = 2 where dropped_at is not null;

-- The life of the dataset. Lines from before lives were counted are of the first one; of 0 where there was another since.
alter table jobs add column dataset_life integer default 1;
alter table audit_log add column dataset_life integer default 1;
alter table exports add column dataset_life integer default 1;
alter table jobs alter column dataset_life drop default;
alter table audit_log alter column dataset_life drop default;
alter table exports alter column dataset_life drop default;
update jobs j set dataset_life = 0 from datasets d where d.name = j.dataset and j.created_at < d.created_at;
update audit_log a set dataset_life = 0 from datasets d where d.name = a.dataset and a.at < d.created_at;
update exports e set dataset_life = 0 from datasets d where d.name = e.dataset and e.published_at < d.created_at;

-- The life of the table; null for a job of no table, and for jobs from before that drop none.
alter table jobs add column life integer;
alter table exports add column life integer;
alter table audits add column life integer not null default 1;
alter table reconciliations add column life integer not null default 1;
alter table export_schedules add column life integer not null default 1;
update jobs j set life = t.life from tables t
 where (t.dataset, t.name) = (j.dataset, j."table") and t.dropped_at is null and j.kind = 'drop-table' and j.created_at >= t.created_at;
update exports e set life = (j.progress->>'life')::int from jobs j where j.id = e.id;
update audits a set life = t.life from tables t where (t.dataset, t.name) = (a.dataset, a.name) and t.dropped_at is null;
update reconciliations r set life = t.life from tables t where (t.dataset, t.name) = (r.dataset, r.name) and t.dropped_at is null;
update export_schedules s set life = t.life from tables t where (t.dataset, t.name) = (s.dataset, s."table") and t.dropped_at is null;

-- The life that a name is in, or will be in once its dataset or its table is made.
create function life_of_dataset(named text) returns integer language sql stable as $$
  select coalesce((select life from datasets where name = named), 1)
$$;
create function life_of_table(of_dataset text, named text) returns integer language sql stable as $$
  select coalesce(max(life) filter (where dropped_at is null), 1 + max(life), 1) from tables
   where dataset = of_dataset and name = named
$$;

-- Triggers, so that no writer can leave the lives out.
create function set_dataset_life() returns trigger language plpgsql as $$
begin
  new.dataset_life := life_of_dataset(new.dataset);
  return new;
end $$;
create function set_job_lives() returns trigger language plpgsql as $$
begin
  new.dataset_life := life_of_dataset(new.dataset);
  if new."table" is not null then new.life := life_of_table(new.dataset, new."table"); end if;
  return new;
end $$;
create trigger jobs_life before insert on jobs for each row when (new.dataset is not null) execute function set_job_lives();
create trigger audit_log_life before insert on audit_log for each row when (new.dataset is not null) execute function set_dataset_life();
create trigger exports_life before insert on exports for each row when (new.dataset is not null) execute function set_dataset_life();
