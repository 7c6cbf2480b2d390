import { StoreError } from '../errors.ts';
import { ClickHouseError, type Opened } from './client.ts';

const marker = '__exception__';

/**
 * The bytes of an answer as they come. An error that ClickHouse meets on the way stands in the body, between two markers
 * with a tag that the headers told; it is thrown, and nothing of it is passed on.
 *
 * @throws ClickHouseError; StoreError when the connection breaks
 */
export async function* chunksOf({ body, exceptionTag }: Opened): AsyncGenerator<Uint8Array> {
  const begin = Buffer.from(exceptionTag === undefined ? marker : `\r\n${marker}\r\n${exceptionTag}\r\n`);
  const reader = body.getReader();
  // What may be the beginning of the marker waits for what comes next.
  let held: Buffer = Buffer.alloc(0);
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw new StoreError('clickhouse', 'broke off its answer', error);
      });
      if (done) break;
      const bytes = held.length === 0 ? Buffer.from(value.buffer, value.byteOffset, value.length) : join(held, value);
      const at = bytes.indexOf(begin);
      if (at >= 0) throw await thrown(reader, bytes.subarray(at + begin.length));
      const sure = bytes.length - startOf(bytes, begin);
      if (sure > 0) yield bytes.subarray(0, sure);
      held = bytes.subarray(sure);
    }
    if (held.length > 0) yield held;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** How many bytes at the end may be the beginning of the marker. */
function startOf(bytes: Buffer, begin: Buffer): number {
  for (let length = Math.min(bytes.length, begin.length - 1); length > 0; length -= 1) {
    if (begin.subarray(0, length).equals(bytes.subarray(bytes.length - length))) return length;
  }
  return 0;
}

async function thrown(reader: ReadableStreamDefaultReader<Uint8Array>, first: Buffer): Promise<ClickHouseError> {
  let text = first;
  while (text.length < 64 * 1024) {
    // The connection is broken by intention after an error.
    const next = await reader.read().catch(() => ({ done: true, value: undefined }));
    if (next.value === undefined) break;
    text = join(text, next.value);
  }
  const message = text.toString().split(marker)[0] ?? '';
  return new ClickHouseError(Number(/Code: ([0-9]+)/.exec(message)?.[1] ?? 0), message);
}

function join(first: Uint8Array, second: Uint8Array): Buffer {
  return Buffer.concat([first, second]);
}
