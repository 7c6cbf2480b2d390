import type { Context } from 'hono';
import { acquireSlot } from '../../src/core/concurrency-limit.ts';
import { ApiError } from '../../src/core/errors.ts';
import type { Answer } from '../../src/query/execution/answer.ts';
import { registerQuery } from '../../src/query/execution/cancel.ts';
import { type Format, formatNames, formats } from '../../src/query/request/format.ts';
import type { App } from './app.ts';

const headerChars_max = 8_000;

/** The format that a request asks for: by its body, else the first one of `Accept` that there is, else JSON. */
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
 * Answers with rows. What is complete is sent in one piece; the rest as it comes, and a failure then breaks the
 * connection: half an answer must not look like a whole one. A client that goes away takes its query along.
 */
export async function respondWithAnswer(
  c: Context<App>,
  ask: (signal: AbortSignal) => Promise<Answer>,
): Promise<Response> {
  const gone = new AbortController();
  c.req.raw.signal.addEventListener('abort', () => gone.abort());
  const giveBack = acquireSlot(c.get('ctx'), 'queries', c.get('key').id);
  const forget = registerQuery(c.get('ctx'), gone);
  const release = () => {
    giveBack();
    forget();
  };
  let answer: Answer;
  try {
    answer = await ask(gone.signal);
  } catch (error) {
    release();
    // The answer says that it was cancelled, whatever broke because of that.
    throw gone.signal.reason instanceof ApiError ? gone.signal.reason : error;
  }
  const { format, notes, cursor, isComplete } = answer;
  const { warnings, streaming, mode, replicaAge_ms, watermark } = notes;
  c.header('content-type', `${formats[format].type}${format === 'csv' ? '; charset=utf-8; header=present' : ''}`);
  c.header('x-timestore-freshness-mode', mode);
  if (replicaAge_ms !== undefined) c.header('x-timestore-replica-age-ms', String(replicaAge_ms));
  // Of many tables with many lanes, it is only in the body: headers have an end.
  if (watermark !== undefined && watermark.length <= headerChars_max) c.header('x-timestore-watermark', watermark);
  c.set('event', { ...c.get('event'), format, mode, tailRows: streaming.rows, exactness: streaming.exactness });
  const body = released(answer.body, release);
  if (format === 'json') return c.body(isComplete ? await whole(body) : stream(body, gone));

  if (cursor !== undefined) c.header('x-timestore-cursor', cursor);
  if (warnings.length > 0) c.header('x-timestore-warnings', headerText(warnings));
  c.header('x-timestore-streaming', headerText({ ...streaming, watermark: undefined }));
  c.header('x-timestore-statistics', headerText({ tailRows: streaming.rows }));
  return c.body(isComplete ? await whole(body) : stream(body, gone));
}

type Body = Answer['body'];

async function* released(body: Body, release: () => void): Body {
  try {
    yield* body;
  } finally {
    release();
  }
}

async function whole(body: Body): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(bytesOf(part));
  return Buffer.concat(parts) as Uint8Array<ArrayBuffer>;
}

/** The runtime passes the bytes on without keeping them: what is written is read before the next is asked for. */
function stream(body: Body, gone: AbortController): ReadableStream<Uint8Array> {
  const { readable, writable } = new IdentityTransformStream();
  void passOn(body, writable.getWriter(), gone);
  return readable;
}

async function passOn(body: Body, writer: WritableStreamDefaultWriter, gone: AbortController): Promise<void> {
  try {
    for await (const part of body) {
      if (part.length > 0) await writer.write(bytesOf(part));
    }
    await writer.close();
  } catch (error) {
    // The client is gone, or ClickHouse is: nobody goes on with the other.
    gone.abort();
    await writer.abort(error).catch(() => undefined);
  }
}

function bytesOf(part: Uint8Array | string): Uint8Array {
  return typeof part === 'string' ? Buffer.from(part) : part;
}

/** JSON in the characters that a header may have. */
function headerText(value: unknown): string {
  return JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
