import type { Readable, Writable } from 'node:stream';

/** The streams, environment and signal of a command; commands use no globals. */
export type Io = {
  stdin: Readable & { isTTY?: boolean };
  stdout: Writable & { isTTY?: boolean; columns?: number };
  stderr: Writable & { isTTY?: boolean; columns?: number };
  env: Record<string, string | undefined>;
  /** Aborted by Ctrl-C, SIGTERM or SIGHUP. */
  signal: AbortSignal;
};

/** Resolves when the stream accepts more. */
export async function print(stream: Writable, text: string | Uint8Array): Promise<void> {
  if (stream.write(text)) return;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  stream.once('drain', resolve).once('error', reject);
  await promise;
}
