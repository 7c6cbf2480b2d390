import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Timestore } from '../../client/index.ts';
import { CliFailure, exitCodes, isSystemError, systemMessage } from '../failure.ts';
import { clock, renderBar, size, withWait } from '../ingest/show-progress.ts';
import { datasetPath } from '../paths.ts';
import { type Patience, retryPatiently } from './patiently.ts';

/** A file that goes into the bucket. */
export type Piece = {
  path: string;
  /** What it is called in messages. */
  label: string;
  /** What it is called there: its end says what it is. */
  name: string;
  bytes: number;
};

export type Progress = {
  /** Bytes that were sent, and that there are in all as far as that is known. */
  sent: number;
  of: number;
  /** What is under way now. */
  doing: string;
  /** Why nothing moves, if so. */
  waits: string | undefined;
};

/** What S3 takes in one piece. */
export const bytes_max = 5 * 1024 ** 3;
const attempts_max = 5;
const pauseMs = 1_000;
const chunkBytes = 256 * 1024;
/** The bucket's answer, once it has everything. */
const silenceMs = 120_000;

/**
 * Puts a file into the bucket, from its start again after a failure that may pass. Each time it has an address of its own, so
 * that what comes late of a former try changes nothing.
 *
 * @returns the name of the object
 * @throws CliFailure, TimestoreError; an AbortError when it is to end
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
    const { key, url } = await retryPatiently(
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
      await delay(pauseMs * 2 ** (attempt - 1), undefined, { signal });
    }
  }
}

async function put(piece: Piece, url: string, progress: Progress, signal: AbortSignal): Promise<void> {
  const before = await stat(piece.path);
  const over = new AbortController();
  let silence: NodeJS.Timeout | undefined;
  let unread: unknown;
  async function* chunks(): AsyncGenerator<Buffer> {
    try {
      // Nothing of what is added meanwhile: as many bytes as were announced.
      const file = createReadStream(piece.path, { end: piece.bytes - 1, highWaterMark: chunkBytes });
      let read = 0;
      for await (const chunk of file) {
        yield chunk as Buffer;
        read += (chunk as Buffer).length;
        progress.sent += (chunk as Buffer).length;
        // Each chunk begins the wait anew: a slow connection is not a silent one.
        clearTimeout(silence);
        silence = setTimeout(() => over.abort(), silenceMs).unref();
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
      signal: AbortSignal.any([signal, over.signal]),
    } as RequestInit);
    await answer.body?.cancel();
  } catch (error) {
    signal.throwIfAborted();
    if (unread !== undefined) throw unread;
    const why = over.signal.aborted ? `was silent for ${silenceMs / 1000} s` : `broke off the upload${reason(error)}`;
    throw new CliFailure(`The bucket (${new URL(url).origin}) ${why}.`, exitCodes.later, error);
  } finally {
    clearTimeout(silence);
  }
  if (!answer.ok) {
    const mayPass = answer.status === 408 || answer.status === 429 || answer.status >= 500;
    throw new CliFailure(
      `The bucket (${new URL(url).origin}) answered ${answer.status} for ${piece.label}.`,
      mayPass ? exitCodes.later : exitCodes.failed,
    );
  }
  const after = await stat(piece.path);
  if (after.size !== before.size || after.mtimeMs !== before.mtimeMs) throw changed(piece);
}

function changed({ label }: Piece): CliFailure {
  return new CliFailure(`${label} changed while it was uploaded. Give the command again when it is whole.`);
}

function reason(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return inner instanceof Error && inner.message !== '' ? `: ${inner.message}` : '';
}

/** How far uploads are, in a line. */
export function uploadLine({ sent, of, doing, waits }: Progress, seconds: number, isTerminal: boolean): string {
  const share = of === 0 ? 0 : Math.min(1, sent / of);
  const left = share > 0 && share < 1 && waits === undefined ? `  ${clock((seconds * (1 - share)) / share)} left` : '';
  const speed = seconds > 0 ? `  ${size(sent / seconds)}/s` : '';
  const line = `${renderBar(share, isTerminal)}  ${size(sent)} of ${size(of)}${speed}${left}  ${doing}`;
  return withWait(line, waits, isTerminal);
}
