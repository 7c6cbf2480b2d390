import type { Readable, Writable } from 'node:stream';

/** What a command has of the world, so that nothing reaches past it. */
export type Io = {
  stdin: Readable & { isTTY?: boolean };
  stdout: Writable & { isTTY?: boolean; columns?: number };
  stderr: Writable & { isTTY?: boolean; columns?: number };
  env: Record<string, string | undefined>;
  /** The wish to end: Ctrl-C, or who started this is gone. */
  signal: AbortSignal;
};

/** Resolves when there is room for more. */
export async function print(stream: Writable, text: string | Uint8Array): Promise<void> {
  if (stream.write(text)) return;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  stream.once('drain', resolve).once('error', reject);
  await promise;
}
