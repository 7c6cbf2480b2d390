import { TimestoreError } from './errors.ts';
import { parseExact } from './json.ts';

/**
 * The rows of an answer in NDJSON, as they come. Who stops before the end takes the query back.
 *
 * @throws TimestoreError `network` when it breaks off
 */
export async function* linesOf<Read>(response: Response): AsyncGenerator<Read, void, undefined> {
  const reader = (response.body ?? new Blob().stream()).pipeThrough(new TextDecoderStream()).getReader();
  let held = '';
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw new TimestoreError('network', 'The answer broke off.', { retryable: true, cause: error });
      });
      if (done) break;
      const lines = (held + value).split('\n');
      held = lines.pop() ?? '';
      for (const line of lines) if (line !== '') yield parseExact(line) as Read;
    }
    if (held !== '') yield parseExact(held) as Read;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
