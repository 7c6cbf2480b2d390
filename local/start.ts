/**
 * `npm start`: runs the engines, the Worker and the collector until Ctrl-C. With `--once` it runs a proof and stops.
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

/** The exit code of a program that Ctrl-C ended. */
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
    await Promise.race([work, stack.failed, worker.failed, interrupt.interrupted]);
  } catch (error) {
    if (!interrupt.signal.aborted) {
      code = 1;
      console.error(`\n${describeFailure(error)}\n`);
    }
  }
  // Ctrl-C is the normal end of the main task, so it counts as success there.
  if (interrupt.signal.aborted && (options.once || !isUp)) code = interruptedCode;
  const isStopped = await phases.measure('stop', () => stopAll(running));
  if (options.once && code === 0) console.log(`\n${showPhases(phases.finish())}`);
  else console.log('Stopped.');
  return isStopped ? code : 1;
}

/** Stops in reverse order: the Worker before the engines that it uses. */
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
