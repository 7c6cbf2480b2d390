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

/** Equal to the default of the client. */
const timeout_ms = 60_000;

/** Shows the status of the stores. Throws CliFailure `later` where rows cannot be accepted; TimestoreError. */
export async function status(options: CommonOptions, io: Io): Promise<void> {
  const { url } = await resolveDeployment(options, io);
  const { isReady, readiness } = await fetchReadiness(url, io.signal);
  if (options.json) {
    await showOne(readiness, options, io);
  } else {
    const items = Object.entries(readiness.stores).map(([store, each]) => ({ store, ...each }));
    await showList(items, ['store', 'ok', 'latencyMs', 'kind', 'version'], options, io);
    for (const warning of readiness.warnings) io.stderr.write(`Warning: ${warning}\n`);
  }
  if (!isReady) throw new CliFailure(`${url} is ${readiness.status}: rows cannot be accepted.`, exitCodes.later);
  if (!options.json) io.stderr.write(`${url} is ${readiness.status}.\n`);
}

/** Bypasses the client, which needs a key and retries a 503, which is an answer here. */
async function fetchReadiness(url: string, signal: AbortSignal): Promise<{ isReady: boolean; readiness: Readiness }> {
  const timeout = AbortSignal.timeout(timeout_ms);
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${url}/ready`, { signal: AbortSignal.any([signal, timeout]) });
    text = await response.text();
  } catch (error) {
    signal.throwIfAborted();
    const [code, message] = timeout.aborted
      ? ['timeout', `No answer within ${timeout_ms} ms.`]
      : ['network', `${url} is unreachable`];
    throw new TimestoreError(code, message, { retryable: true, cause: error });
  }
  const readiness = parseReadiness(text);
  if (readiness !== undefined && (response.ok || response.status === 503)) return { isReady: response.ok, readiness };
  if (!response.ok) throw parseProblem(response.status, text, response.headers.get('retry-after'));
  throw new TimestoreError('malformed-answer', `${url}/ready is not an answer of Timestore.`, {
    status: response.status,
    retryable: false,
  });
}

function parseReadiness(text: string): Readiness | undefined {
  try {
    return readinessSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
