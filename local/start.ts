/**
 * `npm start`: the engines, the Worker and its main job on real input, until Ctrl-C; with `--once` a proof, then the end.
 *
 * @module
 */
import { bringUp, type Running } from './bring-up.ts';
import { describeFailure } from './failure.ts';
import { listenForInterrupts } from './interrupt.ts';
import { live } from './live.ts';
import { type Options, readCommand } from './options.ts';
import { createPhases } from './phases.ts';
import { prove } from './proof.ts';
import { showPhases } from './report.ts';

/** What a shell says of a program ended by Ctrl-C. */
const interruptedCode = 130;

const command = readCommand(process.argv.slice(2), process.env);
if ('help' in command) {
  console.log(command.help);
  process.exit(0);
}
if ('problems' in command) {
  for (const problem of command.problems) console.error(problem);
  process.exit(command.exitCode);
}
process.exit(await start(command.run));

async function start(options: Options): Promise<number> {
  const interrupt = listenForInterrupts();
  const phases = createPhases(options);
  const running: Running = [];
  let code = 0;
  let isUp = false;
  try {
    const timestore = await bringUp(options, running, phases, interrupt.signal);
    isUp = true;
    const { stack, worker, api } = timestore;
    const work = options.once
      ? phases.measure('proof', () => prove(api, stack.env, (text) => console.log(`\n${text}`)))
      : live(timestore, options, interrupt.signal);
    await Promise.race([work, stack.failed, worker.failed, interrupt.wished]);
  } catch (error) {
    if (!interrupt.signal.aborted) {
      code = 1;
      console.error(`\n${describeFailure(error)}\n`);
    }
  }
  // Ctrl-C is the way to end the main job, so there it is a success.
  if (interrupt.signal.aborted && (options.once || !isUp)) code = interruptedCode;
  const isStopped = await phases.measure('stop', () => stopAll(running));
  if (options.once && code === 0) console.log(`\n${showPhases(phases.finish())}`);
  else console.log('All is stopped.');
  return isStopped ? code : 1;
}

/** The last started first: the Worker before the engines that it uses. */
async function stopAll(running: Running): Promise<boolean> {
  let isStopped = true;
  for (const each of running.reverse()) {
    try {
      await each.stop();
    } catch (error) {
      isStopped = false;
      console.error(describeFailure(error));
    }
  }
  return isStopped;
}
