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

/** All that was started so far, in that order: what the end has to stop, also when the start failed half-way. */
export type Running = { stop(): Promise<void> }[];

export type Timestore = { stack: Stack; worker: Worker; api: Api };

const readyLimitMs = 30_000;

/** Resolves when `GET /ready` says ok. What runs by then is in `running`, whether this resolves or throws. */
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
  const given = new AbortController();
  const building = buildWorker(build, given.signal);
  const built = building.catch(() => undefined);
  running.push({
    async stop() {
      given.abort();
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
    say: (text) => console.error(text),
  });
  running.push(worker);
  const api = connect(worker.url, signal);
  const whileAllRuns = <T>(work: Promise<T>) => Promise.race([work, stack.failed, worker.failed]);
  const step = async (title: string, run: () => Promise<void>): Promise<void> =>
    showSteps([{ title, run: () => whileAllRuns(run()).then(() => worker.url) }]);
  await phases.measure('worker', () => step('worker', () => worker.answering(signal)));
  await phases.measure('ready', () => step('ready', () => untilReady(api, worker, signal)));
  return { stack, worker, api };
}

/** One step an engine, side by side as they start. */
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

async function untilReady(api: Api, worker: Worker, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + readyLimitMs;
  for (;;) {
    const { isReady, came } = await askReady(api);
    if (isReady) return;
    signal.throwIfAborted();
    if (performance.now() > deadline) {
      throw new StartFailure(
        `Not ready after ${readyLimitMs / 1000} s. GET ${api.url}/ready said last: ${came}\n` +
          `The Worker's log is ${worker.logFile}, those of the engines are beside its folder in logs/.`,
      );
    }
    await delay(50, undefined, { signal });
  }
}

async function askReady(api: Api): Promise<{ isReady: boolean; came: string }> {
  try {
    const answer: Answer<Readiness> = await api.ready();
    return { isReady: answer.status === 200 && answer.body.status === 'ok', came: describeAnswer(answer) };
  } catch (error) {
    return { isReady: false, came: reasonOf(error) };
  }
}
