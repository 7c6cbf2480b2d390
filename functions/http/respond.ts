import type { Context } from 'hono';
import { acquireSlot } from '../../src/core/concurrency-limit.ts';
import { ApiError } from '../../src/core/errors.ts';
import type { Answer } from '../../src/query/execution/answer.ts';
import { registerQuery } from '../../src/query/execution/cancel.ts';
import { type Format, formatNames, formats } from '../../src/query/request/format.ts';
import type { App } from './app.ts';

const headerChars_max = 8_000;

/** The response format: that of the body, else the first supported type of `Accept`, else JSON. */
export function chooseFormat(c: Context<App>, asked: Format | undefined): Format {
  if (asked !== undefined) return asked;
  const accepted = (c.req.header('accept') ?? '').split(',').map((range) => range.split(';')[0]?.trim().toLowerCase());
  for (const type of accepted) {
    if (type === '*/*' || type === 'application/*') return 'json';
    const format = formatNames.find((name) => formats[name].type === type);
    if (format !== undefined) return format;
  }
  return 'json';
}

/**
 * Responds with rows. A complete answer is sent in one piece; any other is streamed. A failure of a stream breaks the
 * connection, so that a client cannot mistake a partial answer for a complete one. When the client disconnects, the query
 * is cancelled.
 */
export async function respondWithAnswer(
  c: Context<App>,
  runQuery: (signal: AbortSignal) => Promise<Answer>,
): Promise<Response> {
  const cancellation = new AbortController();
  c.req.raw.signal.addEventListener('abort', () => cancellation.abort());
  const releaseSlot = acquireSlot(c.get('ctx'), 'queries', c.get('key').id);
  const forgetQuery = registerQuery(c.get('ctx'), cancellation);
  const release = () => {
    releaseSlot();
    forgetQuery();
  };
  let answer: Answer;
  try {
    answer = await runQuery(cancellation.signal);
  } catch (error) {
    release();
    // A cancellation can surface as any error; the response must report the cancellation.
    throw cancellation.signal.reason instanceof ApiError ? cancellation.signal.reason : error;
  }
  const { format, notes, cursor, isComplete } = answer;
  const { warnings, streaming, mode, replicaAge_ms, watermark } = notes;
  c.header('content-type', `${formats[format].type}${format === 'csv' ? '; charset=utf-8; header=present' : ''}`);
  c.header('x-timestore-freshness-mode', mode);
  if (replicaAge_ms !== undefined) c.header('x-timestore-replica-age-ms', String(replicaAge_ms));
  // A watermark of many tables with many lanes exceeds the size of a header and is only in the body.
  if (watermark !== undefined && watermark.length <= headerChars_max) c.header('x-timestore-watermark', watermark);
  c.set('event', { ...c.get('event'), format, mode, tailRows: streaming.rows, exactness: streaming.exactness });
  const body = releaseAfter(answer.body, release);
  if (format === 'json') return c.body(isComplete ? await collect(body) : stream(body, cancellation));

  if (cursor !== undefined) c.header('x-timestore-cursor', cursor);
  if (warnings.length > 0) c.header('x-timestore-warnings', headerText(warnings));
  c.header('x-timestore-streaming', headerText({ ...streaming, watermark: undefined }));
  c.header('x-timestore-statistics', headerText({ tailRows: streaming.rows }));
  return c.body(isComplete ? await collect(body) : stream(body, cancellation));
}

type Body = Answer['body'];

async function* releaseAfter(body: Body, release: () => void): Body {
  try {
    yield* body;
  } finally {
    release();
  }
}

async function collect(body: Body): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(bytesOf(part));
  return Buffer.concat(parts) as Uint8Array<ArrayBuffer>;
}

/** The identity stream buffers nothing: a write completes when its bytes are read. */
function stream(body: Body, cancellation: AbortController): ReadableStream<Uint8Array> {
  const { readable, writable } = new IdentityTransformStream();
  void pipe(body, writable.getWriter(), cancellation);
  return readable;
}

async function pipe(body: Body, writer: WritableStreamDefaultWriter, cancellation: AbortController): Promise<void> {
  try {
    for await (const part of body) {
      if (part.length > 0) await writer.write(bytesOf(part));
    }
    await writer.close();
  } catch (error) {
    // After a failure on one side, the other side must stop too.
    cancellation.abort();
    await writer.abort(error).catch(() => undefined);
  }
}

function bytesOf(part: Uint8Array | string): Uint8Array {
  return typeof part === 'string' ? Buffer.from(part) : part;
}

/** JSON in the characters that a header allows. */
function headerText(value: unknown): string {
  return JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
