import * as z from 'zod';
import { parseProblem } from '../../../client/errors.ts';
import { TimestoreError } from '../../../client/index.ts';
import { type CommonOptions, resolveDeployment } from '../../config.ts';
import { CliFailure, exitCodes } from '../../failure.ts';
import type { Io } from '../../io.ts';
import { showList, showOne } from '../../show.ts';

const readinessSchema = z.looseObject({
  status: z.string(),
  stores: z.record(z.string(), z.looseObject({ ok: z.boolean() })),
  warnings: z.array(z.string()).default([]),
});

type Readiness = z.output<typeof readinessSchema>;

/** As long as the client waits for an answer. */
const timeoutMs = 60_000;

/** Shows which stores can be used. Throws CliFailure `later` where rows cannot be taken; TimestoreError. */
export async function status(options: CommonOptions, io: Io): Promise<void> {
  const { url } = await resolveDeployment(options, io);
  const { isReady, readiness } = await askReadiness(url, io.signal);
  if (options.json) {
    await showOne(readiness, options, io);
  } else {
    const items = Object.entries(readiness.stores).map(([store, each]) => ({ store, ...each }));
    await showList(items, ['store', 'ok', 'latencyMs', 'kind', 'version'], options, io);
    for (const warning of readiness.warnings) io.stderr.write(`Warning: ${warning}\n`);
  }
  if (!isReady) throw new CliFailure(`${url} is ${readiness.status}: rows cannot be taken.`, exitCodes.later);
  if (!options.json) io.stderr.write(`${url} is ${readiness.status}.\n`);
}

/** Past the client, which takes a 503 for a failure and asks again: here it is the answer, and asking needs no key. */
async function askReadiness(url: string, signal: AbortSignal): Promise<{ isReady: boolean; readiness: Readiness }> {
  const late = AbortSignal.timeout(timeoutMs);
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${url}/ready`, { signal: AbortSignal.any([signal, late]) });
    text = await response.text();
  } catch (error) {
    signal.throwIfAborted();
    const [code, message] = late.aborted
      ? ['timeout', `No answer came within ${timeoutMs} ms.`]
      : ['network', `${url} cannot be reached`];
    throw new TimestoreError(code, message, { retryable: true, cause: error });
  }
  const readiness = readinessIn(text);
  if (readiness !== undefined && (response.ok || response.status === 503)) return { isReady: response.ok, readiness };
  if (!response.ok) throw parseProblem(response.status, text, response.headers.get('retry-after'));
  throw new TimestoreError('malformed-answer', `${url}/ready does not say which stores can be used.`, {
    status: response.status,
    retryable: false,
  });
}

function readinessIn(text: string): Readiness | undefined {
  try {
    return readinessSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
