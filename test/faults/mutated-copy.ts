import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { emptyEngines } from '../kept-engines.ts';
import { startTestStack } from '../test-stack.ts';
import { type Mutation, mutated } from './mutation-list.ts';

/** A run of tests: the report is that of Vitest's JSON reporter, undefined where the run wrote none. */
export type Run = { report: Report | undefined; problem: string };

type Report = {
  success: boolean;
  testResults: {
    name: string;
    message: string;
    assertionResults: { fullName: string; status: string; failureMessages: string[] }[];
  }[];
};

const root = join(import.meta.dirname, '..', '..');
const copied = ['src', 'functions', 'sql', 'local', 'test', 'package.json', 'wrangler.toml', 'tsconfig.json'];
const run_ms_max = 900_000;

/** A copy of the code, with engines that its runs use one after another. */
export class MutatedCopy {
  readonly #folder = mkdtempSync(join(tmpdir(), 'timestore-mutation-'));
  readonly #copy = join(this.#folder, 'copy');
  readonly #report = join(this.#folder, 'report.json');
  #engines: ReturnType<typeof startTestStack> | undefined;
  #engineStarts = 0;
  #child: ReturnType<typeof spawn> | undefined;

  constructor() {
    for (const each of [...copied, 'vitest.config.ts']) {
      cpSync(join(root, each), join(this.#copy, each), { recursive: true });
    }
    symlinkSync(join(root, 'node_modules'), join(this.#copy, 'node_modules'));
  }

  /** Runs tests with one mutation, and takes the mutation back. */
  async runWith({ file, from, to }: Mutation, paths: string[], testName?: string): Promise<Run> {
    const path = join(this.#copy, file);
    const source = readFileSync(path, 'utf8');
    const changed = mutated(source, { from, to });
    if (changed === undefined) throw new Error(`${file} does not contain the text that the mutation replaces: ${from}`);
    writeFileSync(path, changed);
    try {
      return await this.run(paths, testName);
    } finally {
      writeFileSync(path, source);
    }
  }

  /**
   * Runs tests up to the first failure, on emptied engines.
   *
   * @param testName a pattern of Vitest's `-t`
   */
  async run(paths: string[], testName?: string, options: string[] = ['--bail=1']): Promise<Run> {
    rmSync(this.#report, { force: true });
    const filter = testName === undefined ? [] : ['-t', testName];
    const reporter = ['--reporter=json', `--outputFile=${this.#report}`];
    const env = paths.every(needsNoEngines) ? {} : { TEST_ENGINES_ENV: JSON.stringify(await this.#emptyEngines()) };
    const problem = await this.#vitest([...options, ...reporter, ...paths, ...filter], env);
    try {
      return { report: JSON.parse(readFileSync(this.#report, 'utf8')) as Report, problem };
    } catch {
      return { report: undefined, problem };
    }
  }

  /** Ends the engines: the next run starts others. */
  async stopEngines(): Promise<void> {
    const engines = this.#engines;
    this.#engines = undefined;
    await (await engines?.catch(() => undefined))?.stack.stop();
  }

  async remove(): Promise<void> {
    this.#endChild();
    await this.stopEngines();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #emptyEngines(): Promise<Record<string, string>> {
    if (this.#engines === undefined) this.#engineStarts += 1;
    this.#engines ??= startTestStack(join(this.#folder, `engines-${this.#engineStarts}`));
    const { env } = await this.#engines;
    await emptyEngines(env);
    return env;
  }

  /** Returns how it ended where it did not end by itself, and else the end of its error output. */
  #vitest(args: string[], env: Record<string, string>): Promise<string> {
    const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
    const child = spawn(process.execPath, [vitest, 'run', ...args], {
      cwd: this.#copy,
      env: { ...process.env, ...env, NO_COLOR: '1', FAULT_RUNS: '200', FAULT_POINTS: '2' },
      stdio: ['ignore', 'ignore', 'pipe'],
      // A group of its own, with the programs that its tests start.
      detached: true,
    });
    this.#child = child;
    let errors = '';
    child.stderr.on('data', (data) => {
      errors = `${errors}${data}`.slice(-2000);
    });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#endChild(), run_ms_max);
      child.on('error', reject);
      child.on('close', (_, signal) => {
        clearTimeout(timer);
        this.#child = undefined;
        resolve(signal === null ? errors : `it was ended by ${signal} after at most ${run_ms_max / 1000} s`);
      });
    });
  }

  #endChild(): void {
    if (this.#child?.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  }
}

export const needsNoEngines = (path: string): boolean => /^test\/(unit|cluster)\//.test(path);
