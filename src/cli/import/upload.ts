import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Timestore } from '../../client/index.ts';
import { backoff_ms } from '../../core/backoff.ts';
import { CliFailure, exitCodes, isSystemError, systemMessage } from '../failure.ts';
import { clock, renderBar, size, withWait } from '../ingest/show-progress.ts';
import { datasetPath } from '../paths.ts';
import { type Patience, retry } from './patiently.ts';

/** A file to upload. */
export type Piece = {
  path: string;
  /** The name in messages. */
  label: string;
  /** The object name, whose extension is that of the format. */
  name: string;
  bytes: number;
};

export type Progress = {
  /** Bytes sent, and bytes in total as far as known. */
  sent: number;
  of: number;
  /** The current step. */
  doing: string;
  /** Why the upload waits, if it does. */
  waits: string | undefined;
};

/** The S3 limit of a single PUT. */
export const bytes_max = 5 * 1024 ** 3;
const attempts_max = 5;
const pause_ms = 1_000;
const pause_ms_max = 10_000;
const chunk_bytes = 256 * 1024;
/** Time limit without progress, and for the response after the last byte. */
const silence_ms = 120_000;

/**
 * Uploads a file. Each attempt starts from the first byte with its own URL, so that a late earlier attempt changes nothing.
 *
 * @returns the key of the object
 * @throws CliFailure, TimestoreError, AbortError
 */
export async function upload(
  piece: Piece,
  uploading: { timestore: Timestore; dataset: string; progress: Progress; patience: Patience },
): Promise<string> {
  const { timestore, dataset, progress, patience } = uploading;
  const { signal } = patience;
  const sentBefore = progress.sent;
  for (let attempt = 1; ; attempt += 1) {
    progress.doing = piece.label;
    const body = { name: piece.name };
    const { key, url } = await retry(
      () => timestore.call<{ key: string; url: string }>('POST', `${datasetPath(dataset)}/uploads`, { body, signal }),
      patience,
    );
    try {
      await put(piece, url, progress, signal);
      patience.onWait?.(undefined);
      return key;
    } catch (error) {
      if (!(error instanceof CliFailure) || error.exitCode !== exitCodes.later || attempt >= attempts_max) throw error;
      progress.sent = sentBefore;
      patience.onWait?.(error.message);
      await delay(backoff_ms(attempt - 1, pause_ms, pause_ms_max), undefined, { signal });
    }
  }
}

async function put(piece: Piece, url: string, progress: Progress, signal: AbortSignal): Promise<void> {
  const before = await stat(piece.path);
  const timeout = new AbortController();
  let silence: NodeJS.Timeout | undefined;
  let unread: unknown;
  async function* chunks(): AsyncGenerator<Buffer> {
    try {
      // Exactly the announced bytes, even if the file grows.
      const file = createReadStream(piece.path, { end: piece.bytes - 1, highWaterMark: chunk_bytes });
      let read = 0;
      for await (const chunk of file) {
        yield chunk as Buffer;
        read += (chunk as Buffer).length;
        progress.sent += (chunk as Buffer).length;
        // Each chunk restarts the timer, so that a slow connection is no timeout.
        clearTimeout(silence);
        silence = setTimeout(() => timeout.abort(), silence_ms).unref();
      }
      if (read !== piece.bytes) throw changed(piece);
    } catch (error) {
      unread = isSystemError(error)
        ? new CliFailure(systemMessage(error, piece.label), exitCodes.failed, error)
        : error;
      throw error;
    }
  }
  let answer: Response;
  try {
    answer = await fetch(url, {
      method: 'PUT',
      headers: { 'content-length': String(piece.bytes) },
      duplex: 'half',
      body: piece.bytes === 0 ? '' : chunks(),
      signal: AbortSignal.any([signal, timeout.signal]),
    } as RequestInit);
    await answer.body?.cancel();
  } catch (error) {
    signal.throwIfAborted();
    if (unread !== undefined) throw unread;
    const why = timeout.signal.aborted
      ? `was silent for ${silence_ms / 1000} s`
      : `broke off the upload${reason(error)}`;
    throw new CliFailure(`The bucket (${new URL(url).origin}) ${why}.`, exitCodes.later, error);
  } finally {
    clearTimeout(silence);
  }
  if (!answer.ok) {
    const isTemporary = answer.status === 408 || answer.status === 429 || answer.status >= 500;
    throw new CliFailure(
      `The bucket (${new URL(url).origin}) answered ${answer.status} for ${piece.label}.`,
      isTemporary ? exitCodes.later : exitCodes.failed,
    );
  }
  const after = await stat(piece.path);
  if (after.size !== before.size || after.mtimeMs !== before.mtimeMs) throw changed(piece);
}

function changed({ label }: Piece): CliFailure {
  return new CliFailure(`${label} changed during the upload. Repeat the command when the file is complete.`);
}

function reason(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return inner instanceof Error && inner.message !== '' ? `: ${inner.message}` : '';
}

/** The progress of uploads as a line. */
export function uploadLine({ sent, of, doing, waits }: Progress, seconds: number, isTerminal: boolean): string {
  const share = of === 0 ? 0 : Math.min(1, sent / of);
  const remaining =
    share > 0 && share < 1 && waits === undefined ? `  ${clock((seconds * (1 - share)) / share)} left` : '';
  const speed = seconds > 0 ? `  ${size(sent / seconds)}/s` : '';
  const line = `${renderBar(share, isTerminal)}  ${size(sent)} of ${size(of)}${speed}${remaining}  ${doing}`;
  return withWait(line, waits, isTerminal);
}
