import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { freePorts, startStack } from '../../local/stack.ts';
import { migrate } from '../../src/cli/migrate.ts';
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
