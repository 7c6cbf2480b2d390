import { rowReader } from './columns.ts';
import { TimestoreError } from './errors.ts';
import { parseExact } from './json.ts';

/**
 * Streams the rows of an answer in the compact format: lists of values, after the names and the types of the columns. A caller
 * that stops early cancels the query.
 *
 * @throws TimestoreError `network` when the answer breaks off
 */
export async function* readRows<Read>(response: Response): AsyncGenerator<Read, void, undefined> {
  let names: string[] | undefined;
  let read: ((line: string) => object) | undefined;
  for await (const line of readLines(response)) {
    if (read !== undefined) yield read(line) as Read;
    else if (!line.startsWith('[')) yield parseExact(line) as Read;
    else if (names === undefined) names = JSON.parse(line) as string[];
    else read = rowReader(names, JSON.parse(line) as string[]);
  }
}

async function* readLines(response: Response): AsyncGenerator<string, void, undefined> {
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
      for (const line of lines) if (line !== '') yield line;
    }
    if (held !== '') yield held;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
