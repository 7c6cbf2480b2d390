import { appendFileSync, statSync } from 'node:fs';
import { serveEngine } from '../../local/engines/serve.ts';

export type HangingOptions = {
  /** Grows by a byte with each start. */
  starts: string;
  /** How many starts never come up. */
  hangs: number;
};

serveEngine<HangingOptions>(async ({ starts, hangs }) => {
  appendFileSync(starts, '.');
  if (statSync(starts).size <= hangs) await new Promise(() => undefined);
  return { stop: async () => undefined };
});
