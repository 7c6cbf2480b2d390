import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { migrate } from '../src/cli/migrate.ts';
import { type Answer, type Api, adminKey, connect, describeAnswer, type Readiness } from './api.ts';
import { buildWorker } from './build-worker.ts';
import { prepareDataDir } from './data-dir.ts';
import { reasonOf, StartFailure } from './failure.ts';
import type { Options } from './options.ts';
import type { Phases } from './phases.ts';
import { type Step, showSteps } from './progress.ts';
import { type EngineName, engineNames, type Progress, type Stack, startStack } from './stack.ts';
import { requireFreePort, startWorker, type Worker } from './worker.ts';

/** Everything that was started so far, in order. It has to be stopped at the end, also after a start that failed half-way. */
export type Running = { stop(): Promise<void> }[];

export type Timestore = { stack: Stack; worker: Worker; api: Api };

const readyLimitMs = 30_000;

/** Resolves when `GET /ready` reports `ok`. `running` lists every started program, whether this resolves or throws. */
export async function bringUp(
  options: Options,
  running: Running,
  phases: Phases,
  signal: AbortSignal,
): Promise<Timestore> {
  await requireFreePort('PORT', options.port);
  await requireFreePort('LOCAL_PORT_BASE', options.inspectorPort);
  prepareDataDir(options.dataDir);

  const dir = join(options.dataDir, 'worker');
  const build = join(dir, 'build');
  const buildAbort = new AbortController();
  const building = buildWorker(build, buildAbort.signal);
  const built = building.catch(() => undefined);
  running.push({
    async stop() {
      buildAbort.abort();
      await built;
    },
  });
  const stack = await phases.measure('engines', () => startEngines(options, running));
  signal.throwIfAborted();
  await phases.measure('migrate', () =>
    showSteps([
      { title: 'migrations', run: () => Promise.race([migrate(stack.env).then(() => undefined), stack.failed]) },
    ]),
  );
  signal.throwIfAborted();

  await Promise.race([building, stack.failed]);
  const worker = startWorker({
    dir,
    build,
    port: options.port,
    inspectorPort: options.inspectorPort,
    env: { ...options.settings, ...stack.env, TIMESTORE_ADMIN_KEY: adminKey, TIMESTORE_LOCAL: 'true' },
    print: (text) => console.error(text),
  });
  running.push(worker);
  const api = connect(worker.url, signal);
  const unlessFailed = <T>(work: Promise<T>) => Promise.race([work, stack.failed, worker.failed]);
  const step = async (title: string, run: () => Promise<void>): Promise<void> =>
    showSteps([{ title, run: () => unlessFailed(run()).then(() => worker.url) }]);
  await phases.measure('worker', () => step('worker', () => worker.waitUntilUp(signal)));
  await phases.measure('ready', () => step('ready', () => waitUntilReady(api, worker, signal)));
  return { stack, worker, api };
}

/** Shows one step for each engine; all run at the same time. */
async function startEngines(options: Options, running: Running): Promise<Stack> {
  const events = new Map(engineNames.map((name) => [name, Promise.withResolvers<string>()]));
  const onProgress = ({ engine, state, detail = '' }: Progress) => {
    if (state === 'ready' || state === 'external') events.get(engine)?.resolve(detail);
  };
  const starting = startStack({ ...options, onProgress });
  const run = (name: EngineName) => () => Promise.race([events.get(name)?.promise, starting.then(() => undefined)]);
  const [stack] = await Promise.all([
    starting.then((started) => {
      running.push(started);
      return started;
    }),
    showSteps(engineNames.map((name): Step => ({ title: name, run: run(name) }))),
  ]);
  return stack;
}

async function waitUntilReady(api: Api, worker: Worker, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + readyLimitMs;
  for (;;) {
    const { isReady, description } = await checkReady(api);
    if (isReady) return;
    signal.throwIfAborted();
    if (performance.now() > deadline) {
      throw new StartFailure(
        `Timestore is not ready after ${readyLimitMs / 1000} s. Last answer of GET ${api.url}/ready: ${description}\n` +
          `Worker log: ${worker.logFile}. Engine logs: folder logs/ beside the Worker's folder.`,
      );
    }
    await delay(50, undefined, { signal });
  }
}

async function checkReady(api: Api): Promise<{ isReady: boolean; description: string }> {
  try {
    const answer: Answer<Readiness> = await api.ready();
    return { isReady: answer.status === 200 && answer.body.status === 'ok', description: describeAnswer(answer) };
  } catch (error) {
    return { isReady: false, description: reasonOf(error) };
  }
}
