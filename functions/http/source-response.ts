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
  'x-timestore-answered-by': '`origin` where the system has answered that the dataset is taken over from',
};

/** A form that queries are sent in, and how one is answered here. */
export type QueryForm<Body> = {
  schema: z.ZodType<Body>;
  ask(ctx: AppContext, reader: ReadScope, dataset: string, body: Body, asked: AnswerOptions): Promise<Answer>;
};

/** What goes along in each direction, beside the body. */
const askedWith = ['content-type', 'content-encoding', 'accept', 'traceparent'];
const answeredWith = ['content-type', 'retry-after', ...Object.keys({ ...freshnessHeaders, ...noteHeaders })];

/**
 * Has the original answer a query: the body goes there as it came, and the answer comes back as it is given. To compare, it
 * is answered here too, behind that.
 *
 * @throws TimestoreError `unavailable` when the original is away; `forbidden` for a key that reads some rows only: the
 *   original knows nothing of that, and what is here may not be all of them
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
      `Dataset ${dataset} is answered by the system that it is taken over from, which does not know which rows this key reads.`,
    );
  }
  const { signal } = c.req.raw;
  const release = acquireSlot(ctx, 'queries', c.get('key').id);
  try {
    const sent = await withinMemoryBudget(c, () => bodyBytes(c));
    // Before it is answered: what cannot be read here cannot be compared.
    const query = reads === 'compare' ? await decodeText(c, sent).catch(() => undefined) : undefined;
    const headers = { ...picked(c.req.raw.headers, askedWith), 'x-request-id': c.get('requestId') };
    const answer = await askSource(ctx, `/datasets/${dataset}/query`, { body: sent, headers, signal });
    c.set('event', { ...c.get('event'), answeredBy: 'origin', reads });
    c.header('x-timestore-answered-by', 'origin');
    for (const [name, value] of Object.entries(picked(answer.headers, answeredWith))) c.header(name, value);
    const { readable, writable } = new IdentityTransformStream();
    const kept = query === undefined ? undefined : collectAnswer(ctx);
    const passed = passOn(answer, writable.getWriter(), kept).finally(release);
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

function picked(headers: Headers, names: string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => [[name, headers.get(name)]]).filter(([, value]) => value !== null));
}

/** Whether all of it was passed on. A failure breaks the connection: half an answer must not look like a whole one. */
async function passOn(
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
