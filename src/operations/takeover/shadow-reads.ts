import type * as z from 'zod';
import { acquireSlot } from '../../core/concurrency-limit.ts';
import { ApiError, errorCatalogue } from '../../core/errors.ts';
import { describeError } from '../../core/log.ts';
import { requireText } from '../../core/request-text.ts';
import type { Answer } from '../../query/execution/answer.ts';
import { type QueryBody, queryBody } from '../../query/request/parse.ts';
import type { OperationDeps } from '../deps.ts';
import { differenceOf, rowsOf } from './compare-answers.ts';
import { type RecordedDifference, recordDifference } from './differences.ts';

/** `different`, or why nothing can be said; those are counted and no more. */
type Outcome = 'equal' | 'different' | 'too-large' | 'not-comparable' | 'busy' | 'failed';

/** Members that every form of a query has. */
export type ShadowedQuery = Pick<QueryBody, 'cursor' | 'afterWatermark' | 'orderBy'> & {
  tableName?: string | null | undefined;
};

/** An answer of the original, as far as it is known. `too-large`: nobody has kept it; `failed`: it broke off. */
export type SourceAnswer = { status: number; type: string; text: Promise<string | 'too-large' | 'failed'> };

/** Keeps what passes through, up to what is compared. */
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
 * Answers a query here as well, behind the answer of the original, and tells whether both are the same: in the log, in the
 * metrics, and where they are not, on record. Never rejects.
 *
 * @param form of the body, as the route has it that was asked
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
  let told: { outcome: Outcome } & Record<string, unknown> = { outcome: 'failed' };
  let release = () => {};
  try {
    release = acquireSlot(ctx, 'comparisons', '');
    const body = bodyOf(query, form) as Body | undefined;
    table = body?.tableName ?? '';
    told = await compared(ctx, dataset, query, body, origin, ask);
  } catch (error) {
    const isBusy = error instanceof ApiError && error.code === 'too-many-queries';
    told = isBusy ? { outcome: 'busy' } : { outcome: 'failed', ...describeError(error) };
  } finally {
    release();
  }
  ctx.log({ event: 'read-compared', dataset, table, ...told });
}

/** Undefined for a body that is refused here. */
function bodyOf(query: string, form: z.ZodType): unknown {
  try {
    const body: unknown = JSON.parse(query);
    requireText(body, { isNulKept: true });
    return form.safeParse(body).data;
  } catch {
    return undefined;
  }
}

async function compared<Body extends ShadowedQuery>(
  ctx: OperationDeps,
  dataset: string,
  query: string,
  body: Body | undefined,
  origin: SourceAnswer,
  ask: (body: Body) => Promise<Answer>,
): Promise<{ outcome: Outcome } & Record<string, unknown>> {
  // A cursor and a token are of whoever gave them.
  const isOwn = body?.cursor !== undefined || body?.afterWatermark !== undefined;
  if (origin.status !== 200 || !/^application\/json\b/.test(origin.type) || isOwn) {
    await origin.text;
    return { outcome: 'not-comparable', status: origin.status };
  }
  const [theirs, ours] = await Promise.all([origin.text, textHere(ctx, body, ask)]);
  if (theirs === 'failed') return { outcome: 'failed' };
  if (theirs === 'too-large' || ours === 'too-large') return { outcome: 'too-large' };
  const there = rowsOf(theirs);
  if (there === undefined) return { outcome: 'not-comparable', status: origin.status };
  const table = body?.tableName ?? '';
  if (typeof ours !== 'string') {
    const counts = { origin: there.rows.length, here: 0, originOnly: there.rows.length, hereOnly: 0 };
    const found = { table, query, reason: 'refused' as const, fields: [], counts, originOnly: [], hereOnly: [] };
    await recordDifference(ctx, dataset, found);
    return { outcome: 'different', reason: 'refused', counts, code: ours.code };
  }
  const here = rowsOf(ours);
  if (here === undefined) throw new Error('an answer in JSON has rows');
  const difference = differenceOf(there.rows, here.rows, {
    types: here.types,
    orderBy: body?.orderBy,
    isDownsampled: here.mode === 'downsampled',
  });
  const counts: RecordedDifference['counts'] = {
    origin: there.rows.length,
    here: here.rows.length,
    originOnly: difference?.originOnly.length ?? 0,
    hereOnly: difference?.hereOnly.length ?? 0,
  };
  if (difference === undefined) return { outcome: 'equal', counts };
  await recordDifference(ctx, dataset, { table, query, counts, ...difference });
  // Names alone: values are for whoever may read the record.
  return { outcome: 'different', reason: difference.reason, counts, fields: difference.fields };
}

/** The answer of this deployment; the error where it refuses what it would refuse again. */
async function textHere<Body>(
  ctx: OperationDeps,
  body: Body | undefined,
  ask: (body: Body) => Promise<Answer>,
): Promise<string | 'too-large' | ApiError> {
  if (body === undefined) return new ApiError('invalid-request', 'The body is not of the documented form.');
  try {
    const answer = await ask(body);
    const kept = collectAnswer(ctx);
    for await (const part of answer.body) {
      kept.write(Buffer.from(part as string));
      // The rest is not asked for: the query ends with it.
      if (kept.text() === 'too-large') return 'too-large';
    }
    return kept.text();
  } catch (error) {
    if (error instanceof ApiError && !errorCatalogue[error.code].retryable) return error;
    throw error;
  }
}
