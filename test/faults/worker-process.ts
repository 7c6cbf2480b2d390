import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { WorkerOptions } from '../integration/http/miniflare.ts';

/** The built Worker in a process of its own, on a port of its own, to be killed. */
export type WorkerProcess = {
  url: string;
  /** The program; the runtime is a child of it. */
  pid(): number;
  /** `kill -9` of the program and the runtime. */
  kill(): Promise<void>;
  restart(): Promise<void>;
};

export async function startWorkerProcess(
  options: WorkerOptions & { port: number },
  env: Record<string, string> = {},
): Promise<WorkerProcess> {
  let child: ChildProcess;
  async function start(): Promise<void> {
    const program = join(import.meta.dirname, 'worker-program.ts');
    child = spawn(process.execPath, [program, JSON.stringify(options)], {
      // A group of its own: the runtime is a child of the program.
      detached: true,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    await new Promise<void>((resolve, reject) => {
      child.stdout?.once('data', () => resolve());
      child.once('exit', (code) => reject(new Error(`the Worker ended with ${code}`)));
    });
  }
  await start();
  return {
    url: `http://127.0.0.1:${options.port}`,
    pid: () => child.pid as number,
    async kill() {
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      process.kill(-(child.pid as number), 'SIGKILL');
      await ended;
    },
    restart: start,
  };
}
