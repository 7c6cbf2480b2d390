-- Of imports into a table one has sequences at a time: what is on record here is what its lane gets back when the hot buffer
-- has lost it.
create unique index jobs_import_seal on jobs (dataset, "table", (progress->>'life'))
  where kind = 'import' and state in ('queued', 'running', 'failed') and progress ? 'seal';
