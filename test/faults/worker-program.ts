/** A program that runs the built Worker, for tests that kill it. Its arguments are the options as JSON. */
import { startMiniflare, type WorkerOptions } from '../integration/http/miniflare.ts';

const miniflare = startMiniflare(JSON.parse(process.argv[2] ?? '{}') as WorkerOptions);
await miniflare.ready;
process.stdout.write('ready\n');
// It does not outlive who started it.
process.on('disconnect', () => process.exit(0));
