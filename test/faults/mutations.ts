/**
 * Takes one rule after the other out of the real code, in a copy, and looks which tests notice. A rule that no test
 * misses is not tested.
 *
 *   npm run test:mutations
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

type Mutation = { rule: string; file: string; from: string; to: string };

const mutations: Mutation[] = [
  {
    rule: 'the count before publishing',
    file: 'src/flush/flush-lane.ts',
    from: 'if (rows === seal.rows) return',
    to: 'if (rows >= 0) return',
  },
  {
    rule: 'the question within the insert',
    file: 'src/flush/insert.ts',
    from: 'AND _seq BETWEEN {from:UInt64} AND {to:UInt64})\nFORMAT',
    to: 'AND _seq BETWEEN {from:UInt64} AND {to:UInt64} AND 0)\nFORMAT',
  },
  {
    rule: 'the token, and with it the question',
    file: 'src/flush/insert.ts',
    from: "insert_deduplicate: 1,\n  deduplicate_insert_select: 'force_enable',",
    to: "insert_deduplicate: 0,\n  deduplicate_insert_select: 'disable',",
  },
  {
    rule: 'repair tokens',
    file: 'src/flush/insert.ts',
    from: 'attempt === 0 ? seal.token',
    to: 'attempt >= 0 ? seal.token',
  },
  {
    rule: 'starting over at the first token after an error',
    file: 'src/flush/flush-lane.ts',
    from: 'for (let attempt = 0;',
    to: 'for (let attempt = Math.floor(Math.random() * 3);',
  },
  {
    rule: 'the seal in publish',
    file: 'src/buffer/publish.lua',
    from: 'if state[2] ~= ARGV[1] or state[3] ~= ARGV[2] then',
    to: 'if false then',
  },
  {
    rule: 'taking a stored seal over',
    file: 'src/buffer/seal.lua',
    from: 'if state[7] then',
    to: 'if false then',
  },
  {
    rule: 'trimming exactly',
    file: 'src/buffer/publish.lua',
    from: "string.format('%.0f-0', to + 1))\n\nlocal first",
    to: "string.format('%.0f-0', to + 2))\n\nlocal first",
  },
  {
    rule: 'remembering the key',
    file: 'src/buffer/stage.lua',
    from: 'if known then',
    to: 'if false then',
  },
  {
    rule: 'absent state is unknown',
    file: 'src/buffer/stage.lua',
    from: "if not inc then return {'unknown'} end",
    to: "if not inc then inc = 'made-up'; state = {inc, 0, 0, 0, false, false, false, 1} end",
  },
  {
    rule: 'one expiry for all chunks',
    file: 'src/buffer/stage.lua',
    from: 'local begun = tonumber(ARGV[17]) or now',
    to: 'local begun = now',
  },
  {
    rule: 'the stored plan of chunks',
    file: 'src/ingest/stage-chunks.ts',
    from: "if (begun.outcome === 'replayed' && String",
    to: "if (begun.outcome !== 'replayed' && String",
  },
  {
    rule: 'the fence while a seal is there',
    file: 'src/query/query.ts',
    from: 'await run(lanes.filter((lane) => lane.sealedTo !== undefined))',
    to: 'await run([])',
  },
  {
    rule: 'the comparison after a read',
    file: 'src/query/query.ts',
    from: 'if (open.length === 0) return answer;',
    to: 'if (open.length >= 0) return answer;',
  },
];

const root = join(import.meta.dirname, '..', '..');
const suites = ['test/integration', 'test/faults/interleavings', 'test/faults/crash-points'];

let survived = 0;
for (const mutation of mutations) {
  const noticed = suites.find((suite) => !passes(mutation, suite));
  if (noticed === undefined) survived += 1;
  console.log(`${noticed ? '✔' : '✘'} without ${mutation.rule}: ${noticed ?? 'nothing is noticed'}`);
}
console.log(`\n${mutations.length - survived} noticed, ${survived} not`);
process.exitCode = survived === 0 ? 0 : 1;

function passes({ file, from, to }: Mutation, suite: string): boolean {
  const copy = mkdtempSync(join(tmpdir(), 'timestore-mutation-'));
  try {
    for (const each of [
      'src',
      'functions',
      'sql',
      'local',
      'test',
      'package.json',
      'wrangler.toml',
      'tsconfig.json',
      'vitest.config.ts',
    ]) {
      cpSync(join(root, each), join(copy, each), { recursive: true });
    }
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    const source = readFileSync(join(copy, file), 'utf8');
    if (!source.includes(from)) throw new Error(`${file} does not have what the mutation replaces: ${from}`);
    writeFileSync(join(copy, file), source.replace(from, to));
    const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
    const { status } = spawnSync(process.execPath, [vitest, 'run', '--bail=1', suite], {
      cwd: copy,
      env: { ...process.env, FAULT_RUNS: '200' },
      stdio: 'ignore',
      timeout: 300_000,
    });
    return status === 0;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}
