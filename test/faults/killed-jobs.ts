import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { inject } from 'vitest';
import { type Job, readJob } from '../../src/jobs/job.ts';
import { runDueJobs } from '../../src/jobs/runner.ts';
import { jobHandlers } from '../../src/operations/job-handlers.ts';
import { newInstance } from '../integration/support.ts';
import type { Fault } from './injection.ts';

type Env = Record<string, string>;

/** Before the first call, and after each call. A death before the next call has the same effect as one after this call. */
export function deaths(calls: string[]): { name: string; fault: Fault }[] {
  return [
    { name: `before 0 ${calls[0]}`, fault: { call: 0, kind: 'dies before' as const } },
    ...calls.map((name, call) => ({ name: `after ${call} ${name}`, fault: { call, kind: 'dies after' as const } })),
  ];
}

/** Processes that work on jobs, and are killed. */
export function usePrograms(name: string) {
  let prefixes = 0;
  return {
    /** A buffer of the test's own, so that no other process runs its jobs, with claims and leases that expire soon. */
    newEnv(more: Env = {}): Env {
      prefixes += 1;
      const prefix = `${name}-${process.pid}-${prefixes}`;
      return { TIMESTORE_KEY_PREFIX: prefix, TIMESTORE_JOB_CLAIM_MS: '600', TIMESTORE_LEASE_MS: '600', ...more };
    },

    /** A process that works on jobs until it is killed at a call; without a fault it ends by itself and returns its calls. */
    async work(env: Env, fault?: Fault): Promise<{ signal: string | null; calls: string[] }> {
      const root = join(import.meta.dirname, '..', '..');
      const loader = join(root, 'local', 'text-modules.ts');
      const program = join(import.meta.dirname, 'jobs-program.ts');
      const args = fault === undefined ? [] : [JSON.stringify(fault)];
      const child = spawn(process.execPath, ['--import', loader, program, ...args], {
        env: { ...process.env, ...inject('env'), ...env },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const ended = new Promise<string | null>((resolve) => child.once('close', (_, signal) => resolve(signal)));
      const [said, signal] = await Promise.all([text(child.stdout), ended]);
      return { signal, calls: signal === null ? (JSON.parse(said) as string[]) : [] };
    },

    /** Runs a job to its end as a new process would. */
    async goOn(env: Env, id: string): Promise<Job> {
      const ctx = newInstance(env);
      for (;;) {
        const job = await readJob(ctx, id);
        if (!['queued', 'running'].includes(job.state)) return job;
        await runDueJobs(ctx, jobHandlers, ctx.now() + 5_000);
      }
    },
  };
}
