import { StoreError } from '../../core/errors.ts';
import { ClickHouseError, type Opened } from './client.ts';

const marker = '__exception__';

/** The connection ended before the response did. An error message of ClickHouse may be lost with it. */
export class BrokenOff extends StoreError {
  constructor(cause: unknown) {
    super('clickhouse', 'ended its response early', cause);
    this.name = 'BrokenOff';
  }
}

/** Most responses fit into the first buffer; a response that fills it gets the large one. */
const first_bytes = 16 * 1024;
const buffer_bytes = 128 * 1024;

/**
 * Streams the bytes of a response. Each chunk is valid until the next one is requested, because all chunks share one buffer:
 * a long response leaves no garbage. ClickHouse writes a late error into the body, between two markers with a tag from the
 * headers. The stream throws that error and does not yield its text.
 *
 * @throws ClickHouseError; BrokenOff
 */
export async function* readChunks({ body, exceptionTag }: Opened): AsyncGenerator<Uint8Array> {
  const begin = Buffer.from(exceptionTag === undefined ? marker : `\r\n${marker}\r\n${exceptionTag}\r\n`);
  const reader = body.getReader({ mode: 'byob' });
  let buffer = new ArrayBuffer(first_bytes);
  // Bytes that may begin the marker are held back until the next chunk.
  let held = Buffer.alloc(0);
  try {
    for (;;) {
      const { done, value } = await readInto(reader, buffer).catch((error) => {
        throw new BrokenOff(error);
      });
      if (done || value === undefined) break;
      buffer = value.buffer;
      const bytes = held.length === 0 ? Buffer.from(value.buffer, value.byteOffset, value.length) : join(held, value);
      const markerAt = bytes.indexOf(begin);
      if (markerAt >= 0) throw await readError(reader, bytes.subarray(markerAt + begin.length));
      const sure = bytes.length - countMarkerBytes(bytes, begin);
      if (sure > 0) yield bytes.subarray(0, sure);
      held = Buffer.from(bytes.subarray(sure));
      if (value.length === first_bytes) buffer = new ArrayBuffer(buffer_bytes);
    }
    if (held.length > 0) yield held;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** Number of bytes at the end that may begin the marker. */
function countMarkerBytes(bytes: Buffer, begin: Buffer): number {
  const length_max = Math.min(bytes.length, begin.length - 1);
  if (bytes.indexOf(begin.subarray(0, 1), bytes.length - length_max) < 0) return 0;
  for (let length = length_max; length > 0; length -= 1) {
    if (begin.subarray(0, length).equals(bytes.subarray(bytes.length - length))) return length;
  }
  return 0;
}

type Reader = ReadableStreamBYOBReader;
type Read = { done: boolean; value?: Uint8Array<ArrayBuffer> | undefined };

async function readInto(reader: Reader, buffer: ArrayBuffer): Promise<Read> {
  return (await reader.read(new Uint8Array(buffer))) as Read;
}

async function readError(reader: Reader, first: Buffer): Promise<ClickHouseError> {
  let text = Buffer.from(first);
  while (text.length < 64 * 1024) {
    // ClickHouse closes the connection after an error.
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
