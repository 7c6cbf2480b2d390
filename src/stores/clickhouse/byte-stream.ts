import { StoreError } from '../../core/errors.ts';
import { ClickHouseError, type Opened } from './client.ts';

const marker = '__exception__';

/** The connection ended before the answer did. What ClickHouse had to say of it may be lost with it. */
export class BrokenOff extends StoreError {
  constructor(cause: unknown) {
    super('clickhouse', 'broke off its answer', cause);
    this.name = 'BrokenOff';
  }
}

/** Most answers fit into the first; one that fills it is long. */
const first_bytes = 16 * 1024;
const buffer_bytes = 128 * 1024;

/**
 * The bytes of an answer as they come. Each piece is good until the next one is asked for: all of them use one buffer,
 * so that a long answer leaves nothing behind to be collected. An error that ClickHouse meets on the way stands in the
 * body, between two markers with a tag that the headers told; it is thrown, and nothing of it is passed on.
 *
 * @throws ClickHouseError; BrokenOff
 */
export async function* chunksOf({ body, exceptionTag }: Opened): AsyncGenerator<Uint8Array> {
  const begin = Buffer.from(exceptionTag === undefined ? marker : `\r\n${marker}\r\n${exceptionTag}\r\n`);
  const reader = body.getReader({ mode: 'byob' });
  let buffer = new ArrayBuffer(first_bytes);
  // What may be the beginning of the marker waits for what comes next.
  let held = Buffer.alloc(0);
  try {
    for (;;) {
      const { done, value } = await readInto(reader, buffer).catch((error) => {
        throw new BrokenOff(error);
      });
      if (done || value === undefined) break;
      buffer = value.buffer;
      const bytes = held.length === 0 ? Buffer.from(value.buffer, value.byteOffset, value.length) : join(held, value);
      const at = bytes.indexOf(begin);
      if (at >= 0) throw await thrown(reader, bytes.subarray(at + begin.length));
      const sure = bytes.length - startOf(bytes, begin);
      if (sure > 0) yield bytes.subarray(0, sure);
      held = Buffer.from(bytes.subarray(sure));
      if (value.length === first_bytes) buffer = new ArrayBuffer(buffer_bytes);
    }
    if (held.length > 0) yield held;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** How many bytes at the end may be the beginning of the marker. */
function startOf(bytes: Buffer, begin: Buffer): number {
  const longest = Math.min(bytes.length, begin.length - 1);
  if (bytes.indexOf(begin.subarray(0, 1), bytes.length - longest) < 0) return 0;
  for (let length = longest; length > 0; length -= 1) {
    if (begin.subarray(0, length).equals(bytes.subarray(bytes.length - length))) return length;
  }
  return 0;
}

type Reader = ReadableStreamBYOBReader;
type Read = { done: boolean; value?: Uint8Array<ArrayBuffer> | undefined };

async function readInto(reader: Reader, buffer: ArrayBuffer): Promise<Read> {
  return (await reader.read(new Uint8Array(buffer))) as Read;
}

async function thrown(reader: Reader, first: Buffer): Promise<ClickHouseError> {
  let text = Buffer.from(first);
  while (text.length < 64 * 1024) {
    // The connection is broken by intention after an error.
    const next = await readInto(reader, new ArrayBuffer(buffer_bytes)).catch((): Read => ({ done: true }));
    if (next.value === undefined || next.value.length === 0) break;
    text = join(text, next.value);
  }
  const message = text.toString().split(marker)[0] ?? '';
  return new ClickHouseError(Number(/Code: ([0-9]+)/.exec(message)?.[1] ?? 0), message);
}

function join(first: Uint8Array, second: Uint8Array): Buffer<ArrayBuffer> {
  return Buffer.concat([first, second]);
}
