import { execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { freePorts, type Stack, startStack } from '../../local/stack.ts';
import { describeNeonFront } from './postgres-suite.ts';
import { useTempDir } from './support.ts';

const postgres = (process.env.PATH ?? '')
  .split(delimiter)
  .map((directory) => join(directory, 'postgres'))
  .find((file) => existsSync(file));

// The same promises on a real Postgres server, where the machine has one.
describe.skipIf(!postgres)('with a Postgres of its own', () => {
  const tempDir = useTempDir();
  let server: ReturnType<typeof spawn> | undefined;
  let stack: Stack | undefined;
  let databaseUrl = '';

  beforeAll(async () => {
    const dataDir = join(tempDir(), 'pg');
    // Postgres refuses to run as root.
    const nobody = 65_534;
    const identity: SpawnOptions = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};
    mkdirSync(dataDir);
    if (identity.uid) for (const path of [tempDir(), dataDir]) chownSync(path, nobody, nobody);
    const binary = realpathSync(postgres as string);
    const options = { ...identity, stdio: 'ignore', cwd: tmpdir() } as const;
    execFileSync(join(dirname(binary), 'initdb'), ['-D', dataDir, '-U', 'tester', '-A', 'trust', '-N'], options);
    const { postgres: port } = await freePorts();
    server = spawn(binary, ['-D', dataDir, '-p', String(port), '-h', '127.0.0.1', '-k', dataDir], options);
    databaseUrl = `postgresql://tester:secret@127.0.0.1:${port}/postgres`;
    stack = await startStack({
      dataDir: join(tempDir(), 'stack'),
      ports: await freePorts(),
      external: { postgresUrl: databaseUrl },
    });
  });

  afterAll(async () => {
    await stack?.stop();
    server?.kill('SIGQUIT');
  });

  describeNeonFront('the Neon front on a Postgres server', () => ({
    databaseUrl,
    endpoint: stack?.env.NEON_FETCH_ENDPOINT ?? '',
  }));
});
