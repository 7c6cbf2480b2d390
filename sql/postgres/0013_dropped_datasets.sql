-- An instance of an earlier version drops a dataset without counting its life: the next one of the name must not have it.
create function raise_dropped_life() returns trigger language plpgsql as $$
begin
  new.life := old.life + 1;
  return new;
end $$;
create trigger datasets_life before update on datasets for each row
  when (new.dropped_at is not null and old.dropped_at is null and new.life = old.life) execute function raise_dropped_life();
