/**
 * Holds a stack to its OpenAPI document with Schemathesis (https://schemathesis.readthedocs.io), which makes up requests: once
 * with the deployment's own key, once with a key of one dataset. It needs Python with venv, and PyPI for the first minute;
 * without Python it says so and ends well.
 *
 *   npm run test:schemathesis [-- --seconds 300] [--key admin|limited] [--seed N] [--keep]
 *
 * `--keep` leaves the folder with every request in it (`<key>.ndjson`).
 *
 * @module
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildWorker } from '../../local/build-worker.ts';
import { migrate } from '../../src/cli/migrate.ts';
import { startMiniflare } from '../integration/http/miniflare.ts';
import { startTestStack } from '../test-stack.ts';

const version = '4.32.5';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '300' },
    key: { type: 'string' },
    seed: { type: 'string', default: '1' },
    keep: { type: 'boolean', default: false },
  },
});

const folder = mkdtempSync(join(tmpdir(), 'timestore-schemathesis-'));
try {
  const program = install(join(folder, 'venv'));
  if (program === undefined) {
    console.log('Skipped: there is no Python 3 with venv on this machine (`python3 -m venv`).');
  } else {
    process.exitCode = await tryAll(program);
  }
} finally {
  if (values.keep) console.log(`Everything is in ${folder}.`);
  else rmSync(folder, { recursive: true, force: true });
}

/** The program of Schemathesis; undefined where there is no Python. */
function install(venv: string): string | undefined {
  if (spawnSync('python3', ['-m', 'venv', venv], { stdio: 'ignore' }).status !== 0) return undefined;
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', `schemathesis==${version}`];
  const { status } = spawnSync(join(venv, 'bin', 'python'), pip, { stdio: 'inherit' });
  if (status !== 0) throw new Error(`schemathesis ${version} could not be installed`);
  return join(venv, 'bin', 'schemathesis');
}

/** Answers the exit code. */
async function tryAll(program: string): Promise<number> {
  const build = join(folder, 'build');
  const [{ stack, env }] = await Promise.all([startTestStack(join(folder, 'data')), buildWorker(build)]);
  try {
    await migrate(env);
    // A name that nobody has: what a made-up webhook would send goes nowhere.
    const bindings = { ...env, TIMESTORE_WEBHOOK_HOSTS: 'hooks.example.com' };
    const miniflare = startMiniflare({ build, bindings });
    try {
      const url = String(await miniflare.ready).replace(/\/$/, '');
      const keys = { admin: 'local-admin', limited: await limitedKey(url) };
      let failed = 0;
      for (const [name, key] of Object.entries(keys)) {
        if (values.key !== undefined && values.key !== name) continue;
        console.log(`\nWith the ${name} key, for ${values.seconds} s at most:`);
        failed += (await run(program, url, name, key)) === 0 ? 0 : 1;
      }
      return failed === 0 ? 0 : 1;
    } finally {
      await miniflare.dispose();
    }
  } finally {
    await stack.stop();
  }
}

/** A key of one dataset, which has a table with rows, as the examples have it. */
async function limitedKey(url: string): Promise<string> {
  const post = async (path: string, body: unknown): Promise<Record<string, unknown>> => {
    const headers = { authorization: 'Bearer local-admin', 'content-type': 'application/json' };
    const answer = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as Record<string, unknown>;
  };
  const rows = Array.from({ length: 20 }, (_, i) => {
    return { timestamp: `2026-05-01T10:00:${10 + i}Z`, sensor: 'abc'[i % 3], celsius: 20 + i / 2 };
  });
  await post('/v1/datasets/demo/tables/readings/rows?ack=flushed', rows);
  const datasets = ['demo'];
  const scopes = { ingest: datasets, query: datasets, sql: datasets, admin: datasets };
  return String((await post('/v1/admin/keys', { name: 'limited', scopes })).key);
}

function run(program: string, url: string, name: string, key: string): Promise<number> {
  const args = [
    '--config-file',
    join(import.meta.dirname, 'schemathesis.toml'),
    'run',
    `${url}/openapi.json`,
    '--header',
    `Authorization: Bearer ${key}`,
    '--no-color',
    '--phases',
    'examples,coverage,fuzzing',
    '--checks',
    'all',
    '--continue-on-failure',
    // Both are about the key that every request here has.
    '--exclude-checks',
    'ignored_auth,object_level_authorization',
    '--max-time',
    values.seconds,
    '--request-timeout',
    '60',
    '--seed',
    values.seed,
    '--generation-database',
    'none',
    '--suppress-health-check',
    'all',
    '--report',
    'ndjson',
    '--report-ndjson-path',
    join(folder, `${name}.ndjson`),
  ];
  const child = spawn(program, args, { cwd: folder, stdio: 'inherit' });
  // It ends by itself; a request that hangs is one that failed.
  const timer = setTimeout(() => child.kill('SIGKILL'), (Number(values.seconds) + 120) * 1_000);
  return new Promise((resolve) => {
    child.on('exit', (code) => {
      clearTimeout(timer);
      resolve(code ?? 1);
    });
  });
}
