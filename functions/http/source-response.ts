import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type * as z from 'zod';
import type { Reads } from '../../src/catalog/read-routing.ts';
import { acquireSlot } from '../../src/core/concurrency-limit.ts';
import { ApiError } from '../../src/core/errors.ts';
import type { Context as AppContext } from '../../src/create-context.ts';
import {
  collectAnswer,
  type ShadowedQuery,
  type SourceAnswer,
  shadowRead,
} from '../../src/operations/takeover/shadow-reads.ts';
import { askSource } from '../../src/operations/takeover/source.ts';
import type { Answer } from '../../src/query/execution/answer.ts';
import type { AnswerOptions } from '../../src/query/execution/query-table.ts';
import type { ReadScope } from '../../src/query/execution/read-scope.ts';
import type { App } from './app.ts';
import { bodyBytes, decodeText, withinMemoryBudget } from './body.ts';
import { freshnessHeaders, noteHeaders } from './query-response.ts';

export const sourceHeaders = {
  'x-timestore-answered-by': '`origin` if the source system of a takeover answered',
};

/** A format of queries, with the function that runs one on this deployment. */
export type QueryForm<Body> = {
  schema: z.ZodType<Body>;
  ask(ctx: AppContext, reader: ReadScope, dataset: string, body: Body, asked: AnswerOptions): Promise<Answer>;
};

/** Headers that are passed on to the source system, and back from it. */
const requestHeaders = ['content-type', 'content-encoding', 'accept', 'traceparent'];
const responseHeaders = ['content-type', 'retry-after', ...Object.keys({ ...freshnessHeaders, ...noteHeaders })];

/**
 * Passes a query on to the source system, and its response back to the client. In the mode `compare`, this deployment also
 * runs the query, in the background.
 *
 * @throws ApiError `unavailable` when the source system is unavailable; `forbidden` for a key with a row filter, because
 *   the source system does not apply the filter and this deployment may not have all rows yet
 */
export async function answerFromSource<Body extends ShadowedQuery>(
  c: Context<App>,
  dataset: string,
  reads: Exclude<Reads, 'on'>,
  { schema, ask }: QueryForm<Body>,
): Promise<Response> {
  const ctx = c.get('ctx');
  const reader = c.get('key').reader('query');
  if (reader.rowFilter !== null) {
    throw new ApiError(
      'forbidden',
      `The source system answers queries of dataset ${dataset}, and it cannot apply the row filter of this key.`,
    );
  }
  const { signal } = c.req.raw;
  const release = acquireSlot(ctx, 'queries', c.get('key').id);
  try {
    const sent = await withinMemoryBudget(c, () => bodyBytes(c));
    // A query that cannot be decoded here is passed on without a comparison.
    const query = reads === 'compare' ? await decodeText(c, sent).catch(() => undefined) : undefined;
    const headers = { ...pickHeaders(c.req.raw.headers, requestHeaders), 'x-request-id': c.get('requestId') };
    const answer = await askSource(ctx, `/datasets/${dataset}/query`, { body: sent, headers, signal });
    c.set('event', { ...c.get('event'), answeredBy: 'origin', reads });
    c.header('x-timestore-answered-by', 'origin');
    for (const [name, value] of Object.entries(pickHeaders(answer.headers, responseHeaders))) c.header(name, value);
    const { readable, writable } = new IdentityTransformStream();
    const kept = query === undefined ? undefined : collectAnswer(ctx);
    const passed = pipeResponse(answer, writable.getWriter(), kept).finally(release);
    if (query !== undefined && kept !== undefined) {
      const text: SourceAnswer['text'] = passed.then((isWhole) => (isWhole ? kept.text() : 'failed'));
      const origin = { status: answer.status, type: answer.headers.get('content-type') ?? '', text };
      const asked = { format: 'json' as const, signal: new AbortController().signal };
      const here = (body: Body) => ask(ctx, reader, dataset, body, asked);
      const compare = shadowRead(ctx, dataset, query, origin, here, schema);
      c.executionCtx.waitUntil(compare);
    }
    return c.body(readable, answer.status as ContentfulStatusCode);
  } catch (error) {
    release();
    throw error;
  }
}

function pickHeaders(headers: Headers, names: string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => [[name, headers.get(name)]]).filter(([, value]) => value !== null));
}

/**
 * Pipes a response to the client, and returns whether it was complete. A failure breaks the connection, so that the client
 * cannot mistake a partial answer for a complete one.
 */
async function pipeResponse(
  { body }: globalThis.Response,
  writer: WritableStreamDefaultWriter<Uint8Array>,
  kept: ReturnType<typeof collectAnswer> | undefined,
): Promise<boolean> {
  try {
    for await (const part of body ?? []) {
      kept?.write(part);
      await writer.write(part);
    }
    await writer.close();
    return true;
  } catch (error) {
    await writer.abort(error).catch(() => undefined);
    return false;
  }
}
