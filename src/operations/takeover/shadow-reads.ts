import type * as z from 'zod';
import { assertDefined } from '../../core/assert.ts';
import { acquireSlot } from '../../core/concurrency-limit.ts';
import { ApiError, errorCatalogue } from '../../core/errors.ts';
import { describeError } from '../../core/log.ts';
import { requireText } from '../../core/request-text.ts';
import type { Answer } from '../../query/execution/answer.ts';
import { type QueryBody, queryBody } from '../../query/request/parse.ts';
import type { OperationDeps } from '../deps.ts';
import { compareAnswers, parseRows } from './compare-answers.ts';
import { type RecordedDifference, recordDifference } from './differences.ts';

/** The result of a comparison, or why the answers cannot be compared. Only `different` is recorded. */
type Outcome = 'equal' | 'different' | 'too-large' | 'not-comparable' | 'busy' | 'failed';

/** Members of every form of a query. */
export type ShadowedQuery = Pick<QueryBody, 'cursor' | 'afterWatermark' | 'orderBy'> & {
  tableName?: string | null | undefined;
};

/** An answer of the source system. `too-large`: the answer was not kept. `failed`: it broke off. */
export type SourceAnswer = { status: number; type: string; text: Promise<string | 'too-large' | 'failed'> };

/** Keeps a streamed answer up to the size that is compared. */
export function collectAnswer(ctx: OperationDeps): { write(part: Uint8Array): void; text(): string | 'too-large' } {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  const { compared_bytes_max } = ctx.config.limits;
  return {
    write(part) {
      bytes += part.length;
      if (bytes <= compared_bytes_max) parts.push(part.slice());
      else parts = [];
    },
    text: () => (bytes <= compared_bytes_max ? Buffer.concat(parts).toString() : 'too-large'),
  };
}

/**
 * Runs a query in this deployment after the source system has answered it, and compares both answers. The result goes to
 * the log and the metrics; a difference is also recorded. Never rejects.
 *
 * @param form schema of the request body, which depends on the route
 */
export async function shadowRead<Body extends ShadowedQuery = QueryBody>(
  ctx: OperationDeps,
  dataset: string,
  query: string,
  origin: SourceAnswer,
  ask: (body: Body) => Promise<Answer>,
  form: z.ZodType = queryBody,
): Promise<void> {
  let table = '';
  let result: { outcome: Outcome } & Record<string, unknown> = { outcome: 'failed' };
  let release = () => {};
  try {
    release = acquireSlot(ctx, 'comparisons', '');
    const body = parseBody(query, form) as Body | undefined;
    table = body?.tableName ?? '';
    result = await compareReads(ctx, dataset, query, body, origin, ask);
  } catch (error) {
    const isBusy = error instanceof ApiError && error.code === 'too-many-queries';
    result = isBusy ? { outcome: 'busy' } : { outcome: 'failed', ...describeError(error) };
  } finally {
    release();
  }
  ctx.log({ event: 'read-compared', dataset, table, ...result });
}

/** Undefined for a body that this deployment rejects. */
function parseBody(query: string, form: z.ZodType): unknown {
  try {
    const body: unknown = JSON.parse(query);
    requireText(body, { isNulKept: true });
    return form.safeParse(body).data;
  } catch {
    return undefined;
  }
}

async function compareReads<Body extends ShadowedQuery>(
  ctx: OperationDeps,
  dataset: string,
  query: string,
  body: Body | undefined,
  origin: SourceAnswer,
  ask: (body: Body) => Promise<Answer>,
): Promise<{ outcome: Outcome } & Record<string, unknown>> {
  // Cursors and watermark tokens are valid only in the system that issued them.
  const isOwn = body?.cursor !== undefined || body?.afterWatermark !== undefined;
  if (origin.status !== 200 || !/^application\/json\b/.test(origin.type) || isOwn) {
    await origin.text;
    return { outcome: 'not-comparable', status: origin.status };
  }
  const [originText, ownText] = await Promise.all([origin.text, readOwnAnswer(ctx, body, ask)]);
  if (originText === 'failed') return { outcome: 'failed' };
  if (originText === 'too-large' || ownText === 'too-large') return { outcome: 'too-large' };
  const theirs = parseRows(originText);
  if (theirs === undefined) return { outcome: 'not-comparable', status: origin.status };
  const table = body?.tableName ?? '';
  if (typeof ownText !== 'string') {
    const counts = { origin: theirs.rows.length, here: 0, originOnly: theirs.rows.length, hereOnly: 0 };
    const found = { table, query, reason: 'refused' as const, fields: [], counts, originOnly: [], hereOnly: [] };
    await recordDifference(ctx, dataset, found);
    return { outcome: 'different', reason: 'refused', counts, code: ownText.code };
  }
  const ours = assertDefined(parseRows(ownText), 'a JSON answer has rows');
  const difference = compareAnswers(theirs.rows, ours.rows, {
    types: ours.types,
    orderBy: body?.orderBy,
    isDownsampled: ours.mode === 'downsampled',
  });
  const counts: RecordedDifference['counts'] = {
    origin: theirs.rows.length,
    here: ours.rows.length,
    originOnly: difference?.originOnly.length ?? 0,
    hereOnly: difference?.hereOnly.length ?? 0,
  };
  if (difference === undefined) return { outcome: 'equal', counts };
  await recordDifference(ctx, dataset, { table, query, counts, ...difference });
  // The log contains only field names: values are visible only to readers of the record.
  return { outcome: 'different', reason: difference.reason, counts, fields: difference.fields };
}

/** The answer of this deployment, or the error if a retry would fail too. */
async function readOwnAnswer<Body>(
  ctx: OperationDeps,
  body: Body | undefined,
  ask: (body: Body) => Promise<Answer>,
): Promise<string | 'too-large' | ApiError> {
  if (body === undefined) return new ApiError('invalid-request', 'The body does not have the documented form.');
  try {
    const answer = await ask(body);
    const kept = collectAnswer(ctx);
    for await (const part of answer.body) {
      kept.write(Buffer.from(part as string));
      // Returning ends the stream and cancels the query.
      if (kept.text() === 'too-large') return 'too-large';
    }
    return kept.text();
  } catch (error) {
    if (error instanceof ApiError && !errorCatalogue[error.code].retryable) return error;
    throw error;
  }
}
