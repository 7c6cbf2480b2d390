import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { splitStatements } from '../../src/cli/split-statements.ts';
import { RefusedError, StoreError } from '../../src/core/errors.ts';
import type { Statement } from '../../src/stores/postgres/client.ts';
import { must, type Probe } from './probe.ts';

const folder = join(import.meta.dirname, '..', '..', 'sql', 'postgres');
const migrations = readdirSync(folder)
  .filter((name) => name.endsWith('.sql'))
  .sort();

/** The SQLSTATE of a division by zero, with which a probe takes back what it has done. */
const takenBack = '22012';

function stateOf(error: unknown): string | undefined {
  const cause = error instanceof StoreError ? error.cause : undefined;
  return (cause as { code?: string } | undefined)?.code;
}

export const postgresProbes: Probe[] = [
  {
    store: 'postgres',
    what: 'answers',
    fix: 'Check DATABASE_URL. A database that is not Neon needs a server in front of it that speaks its HTTP interface (NEON_FETCH_ENDPOINT).',
    async run({ ctx }) {
      const [row] = await ctx.postgres.rows<{ version: string }>(`select current_setting('server_version') as version`);
      return row?.version;
    },
  },
  {
    store: 'postgres',
    what: 'is migrated',
    fix: 'Run npm run migrate with the same variables.',
    async run({ ctx }) {
      const rows = await ctx.postgres.rows<{ name: string }>('select name from migrations');
      const missing = migrations.filter((file) => !rows.some(({ name }) => file.startsWith(name) || name === file));
      must(missing.length === 0, `not applied: ${missing.join(', ')}`);
      return `${migrations.length} migrations`;
    },
  },
  {
    store: 'postgres',
    what: 'takes every migration, locks, and takes a failed transaction back as a whole',
    fix: 'The user must be allowed to make schemas and tables (GRANT CREATE ON DATABASE). Postgres 15 or newer.',
    async run({ ctx, id }) {
      const schema = id.replaceAll('-', '_');
      const statements = migrations.flatMap((file) => splitStatements(readFileSync(join(folder, file), 'utf8')));
      const work: Statement[] = [
        ['select pg_advisory_xact_lock($1)', [7_308_907]],
        [`create schema ${schema}`],
        [`set local search_path = ${schema}`],
        ...statements.map((statement): Statement => [statement]),
        [`insert into datasets (name) values ($1)`, [id]],
        ['select id from jobs for update skip locked limit 1'],
        ['select 1 / count(*) from datasets where name = $1', ['nobody']],
      ];
      const error = await ctx.postgres.transaction(work).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      must(error !== undefined, 'a transaction whose last statement fails is kept');
      if (stateOf(error) !== takenBack) throw error;
      const left = await ctx.postgres.rows('select 1 from information_schema.schemata where schema_name = $1', [
        schema,
      ]);
      must(left.length === 0, 'what a failed transaction has made is left');
      return `${statements.length} statements`;
    },
  },
  {
    store: 'postgres',
    what: 'keeps text and JSON of 4 MB as they are, and refuses what it cannot keep by its SQLSTATE',
    fix: 'Manifests and backups have values of that size. A proxy in front of Postgres may limit requests: raise its limit.',
    async run({ ctx }) {
      const text = `${'x'.repeat(4_000_000)} "é" 9007199254740993`;
      const [row] = await ctx.postgres.rows<{ text: string }>(`select $1::jsonb->>'v' as text`, [
        JSON.stringify({ v: text }),
      ]);
      must(row?.text === text, 'it comes back changed');
      const refused = await ctx.postgres.rows('select $1::text', ['a\u0000b']).then(
        () => undefined,
        (error: unknown) => error,
      );
      must(refused instanceof RefusedError, 'a NUL is not refused as a value');
      return undefined;
    },
  },
];
