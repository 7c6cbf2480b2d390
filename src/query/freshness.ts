import * as z from 'zod';
import type { Limits } from '../config.ts';
import { invalid, tooMuch } from './invalid.ts';
import { decodeToken, type Watermark } from './token.ts';

const tokens = z.union([z.string(), z.array(z.string()).max(100)]);

/** The members of a query's body that say how fresh its answer must be. */
export const freshnessFields = {
  consistency: z
    .enum(['strict', 'bounded', 'eventual'])
    .optional()
    .meta({
      description:
        '`strict`: every acknowledged row, or 409. `bounded`: ClickHouse alone while what it lacks is not older than ' +
        '`maxStalenessMs`. `eventual`: ClickHouse alone. By default every acknowledged row, or a warning',
    }),
  requireFresh: z.boolean().optional().meta({ description: 'the same as `consistency: strict`' }),
  maxStalenessMs: z.int().nonnegative().optional(),
  minWatermark: tokens
    .optional()
    .meta({ description: 'tokens of earlier answers: what they include is in this one, or it is a 409' }),
  min_watermark: tokens.optional().meta({ description: 'the same as `minWatermark`' }),
  maxWaitMs: z.int().nonnegative().optional().meta({ description: 'how long to wait for the freshness asked for' }),
};

const fields = z.object({ ...freshnessFields, afterWatermark: z.string().optional() });

export type Freshness = {
  consistency: 'default' | 'strict' | 'bounded' | 'eventual';
  maxStaleness_ms: number;
  maxWait_ms: number;
  /** What the answer must include. */
  required: Watermark[];
};

/** Throws TimestoreError `invalid-request`, `limit-exceeded`. */
export function freshnessOf(body: z.output<typeof fields>, limits: Limits): Freshness {
  const { requireFresh, maxStalenessMs, maxWaitMs = limits.query_wait_ms } = body;
  const consistency = body.consistency ?? impliedBy(body);
  if (requireFresh && consistency !== 'strict') {
    throw invalid(`requireFresh: true is consistency strict, and ${consistency} was asked for`);
  }
  if (maxStalenessMs !== undefined && consistency !== 'bounded') {
    throw invalid(`maxStalenessMs: belongs to consistency bounded, and ${consistency} was asked for`);
  }
  if (consistency === 'bounded' && maxStalenessMs === undefined) {
    throw invalid('maxStalenessMs: say it with consistency bounded');
  }
  if (maxWaitMs > limits.query_wait_ms_max) {
    throw tooMuch(`maxWaitMs: a query waits at most ${limits.query_wait_ms_max} ms (limit query_wait_ms_max)`);
  }
  // What comes after a token can only be told where the token's own rows are there.
  const sent = [body.minWatermark ?? [], body.min_watermark ?? [], body.afterWatermark ?? []].flat();
  const required = sent.map((token) => {
    const watermark = decodeToken(token);
    if (watermark === undefined) throw invalid('minWatermark: this is not a token that Timestore gave out');
    return watermark;
  });
  return { consistency, maxStaleness_ms: maxStalenessMs ?? 0, maxWait_ms: maxWaitMs, required };
}

function impliedBy({ requireFresh, maxStalenessMs }: z.output<typeof fields>): Freshness['consistency'] {
  if (requireFresh) return 'strict';
  return maxStalenessMs === undefined ? 'default' : 'bounded';
}
