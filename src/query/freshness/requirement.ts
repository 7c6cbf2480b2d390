import * as z from 'zod';
import { requireToken, type Watermark } from '../../buffer/watermark-token.ts';
import { invalidRequest, limitExceeded } from '../../core/invalid-request.ts';
import type { Limits } from '../../core/limits.ts';

const tokenSchema = z.union([z.string(), z.array(z.string()).max(100)]);

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
  minWatermark: tokenSchema
    .optional()
    .meta({ description: 'tokens of earlier answers: what they include is in this one, or it is a 409' }),
  min_watermark: tokenSchema.optional().meta({ description: 'the same as `minWatermark`' }),
  maxWaitMs: z.int().nonnegative().optional().meta({ description: 'how long to wait for the freshness asked for' }),
};

const fields = z.object({ ...freshnessFields, afterWatermark: z.string().optional() });

export type Freshness = {
  consistency: 'default' | 'strict' | 'bounded' | 'eventual';
  maxStaleness_ms: number;
  maxWait_ms: number;
  /** What the answer must include, and which member of the request says so. */
  required: (Watermark & { member: string })[];
};

/** Throws TimestoreError `invalid-request`, `limit-exceeded`. */
export function freshnessOf(body: z.output<typeof fields>, limits: Limits): Freshness {
  const { requireFresh, maxStalenessMs, maxWaitMs = limits.query_wait_ms } = body;
  const consistency = body.consistency ?? impliedBy(body);
  if (requireFresh && consistency !== 'strict') {
    throw invalidRequest(`requireFresh: true is consistency strict, and ${consistency} was asked for`);
  }
  if (maxStalenessMs !== undefined && consistency !== 'bounded') {
    throw invalidRequest(`maxStalenessMs: belongs to consistency bounded, and ${consistency} was asked for`);
  }
  if (consistency === 'bounded' && maxStalenessMs === undefined) {
    throw invalidRequest('maxStalenessMs: say it with consistency bounded');
  }
  if (maxWaitMs > limits.query_wait_ms_max) {
    throw limitExceeded(`maxWaitMs: a query waits at most ${limits.query_wait_ms_max} ms (limit query_wait_ms_max)`);
  }
  const { minWatermark = [], min_watermark = [], afterWatermark = [] } = body;
  // What comes after a token can only be told where the token's own rows are there.
  const sent = Object.entries({ minWatermark, min_watermark, afterWatermark });
  const required = sent.flatMap(([member, tokens]) =>
    [tokens].flat().map((token) => ({ ...requireToken(member, token), member })),
  );
  return { consistency, maxStaleness_ms: maxStalenessMs ?? 0, maxWait_ms: maxWaitMs, required };
}

function impliedBy({ requireFresh, maxStalenessMs }: z.output<typeof fields>): Freshness['consistency'] {
  if (requireFresh) return 'strict';
  return maxStalenessMs === undefined ? 'default' : 'bounded';
}
