import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { freePorts, startStack } from '../../local/stack.ts';
import { migrate } from '../../src/cli/migrate.ts';
import { splitStatements } from '../../src/cli/split-statements.ts';
import { newInstance } from './support.ts';

const ctx = newInstance();
const migrations = join(import.meta.dirname, '..', '..', 'sql', 'postgres');

test('migrating again changes nothing', async () => {
  expect(await migrate(inject('env'))).toEqual([]);
});

test('several that migrate an empty database at the same time apply each file once', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'timestore-test-'));
  const stack = await startStack({ dataDir: dir, ports: await freePorts() });
  try {
    const applied = await Promise.all(Array.from({ length: 4 }, () => migrate(stack.env)));
    expect(applied.flat().sort()).toEqual(readdirSync(migrations).sort());
    expect(await migrate(stack.env)).toEqual([]);
  } finally {
    await stack.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});

test('a migration that changed after it was applied is refused by name', async () => {
  const [{ checksum } = { checksum: '' }] = await ctx.postgres.rows<{ checksum: string }>(
    "select checksum from migrations where name = '0001_catalog.sql'",
  );
  await ctx.postgres.rows("update migrations set checksum = 'other' where name = '0001_catalog.sql'");
  try {
    await expect(migrate(inject('env'))).rejects.toThrow('0001_catalog.sql');
  } finally {
    await ctx.postgres.rows("update migrations set checksum = $1 where name = '0001_catalog.sql'", [checksum]);
  }
});

test('what an installation has from before lives were counted belongs to the life that it was made in', async () => {
  const statementsOf = (names: string[]) =>
    names.flatMap((name) =>
      splitStatements(readFileSync(join(migrations, name), 'utf8')).map((text): [string] => [text]),
    );
  const names = readdirSync(migrations).sort();
  const line = (dataset: string, day: number) =>
    `insert into audit_log (at, actor, request_id, action, dataset) values ('2026-05-0${day}', 'a', 'r', 'day ${day}', '${dataset}')`;
  const drop = (id: string, dataset: string, day: number) =>
    `insert into jobs (id, kind, dataset, "table", request, buffer, actor, request_id, created_at)
     values ('${id}', 'drop-table', '${dataset}', 'm', '{}', 'b', 'a', 'r', '2026-05-0${day}')`;
  const table = (life: number, day: number, dropped: string) =>
    `insert into tables (dataset, name, life, definition, schema_version, created_at, dropped_at)
     values ('again', 'm', ${life}, '{}', 1, '2026-05-0${day}', ${dropped})`;
  const answers = await ctx.postgres.transaction([
    // A catalogue of its own in the same database, for as long as the transaction lasts.
    ['create schema before_lives'],
    ['set local search_path to before_lives'],
    ...statementsOf(names.filter((name) => name < '0012')),
    [`insert into datasets (name, created_at) values ('kept', '2026-05-01'), ('again', '2026-05-03')`],
    [`insert into datasets (name, created_at, dropped_at) values ('gone', '2026-05-01', '2026-05-02')`],
    [table(1, 1, `'2026-05-02'`)],
    [table(2, 3, 'null')],
    ...[line('kept', 2), line('again', 2), line('again', 4), line('gone', 1)].map((text): [string] => [text]),
    [drop('failed long ago', 'again', 2)],
    [drop('waits', 'again', 4)],
    ...statementsOf(names.filter((name) => name >= '0012')),
    // As a version from before would write it, which knows of no lives.
    [drop('later', 'again', 5)],
    [line('gone', 5)],
    [
      `select jsonb_agg(dataset || ' ' || action order by dataset, action) as shown
         from audit_log where dataset_life = life_of_dataset(dataset)`,
    ],
    ['select jsonb_object_agg(id, life) as lives from jobs'],
    ['drop schema before_lives cascade'],
  ]);
  expect(answers.flat().filter((row) => 'shown' in row || 'lives' in row)).toEqual([
    { shown: ['again day 4', 'gone day 5', 'kept day 2'] },
    { lives: { 'failed long ago': null, waits: 2, later: 2 } },
  ]);
});
