/** A program that runs a stack, for tests of what happens to the engines when it ends. Says on stdout how it goes. */
import { freePorts, startStack } from '../../local/stack.ts';

const stack = await startStack({ dataDir: process.argv[2] as string, ports: await freePorts() });
const say = (line: unknown) => process.stdout.write(`${JSON.stringify(line)}\n`);

process.on('SIGINT', async () => {
  await stack.stop();
  say({ stopped: true });
  process.exit(0);
});
stack.failed.catch((error: Error) => {
  say({ failed: error.message });
});
say({ pids: Object.values(stack.engines).map(({ pid }) => pid) });
setInterval(() => undefined, 60_000);
