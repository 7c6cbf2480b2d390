import * as z from 'zod';
import { requireToken, type Watermark } from '../../buffer/watermark-token.ts';
import { invalidRequest, limitExceeded } from '../../core/invalid-request.ts';
import type { Limits } from '../../core/limits.ts';

const tokenSchema = z.union([z.string(), z.array(z.string()).max(100)]);

/** The members of a query body that set the freshness of its answer. */
export const freshnessFields = {
  consistency: z
    .enum(['strict', 'bounded', 'eventual'])
    .optional()
    .meta({
      description:
        '`strict`: every acknowledged row, or 409. `bounded`: ClickHouse alone while its missing rows are not older than ' +
        '`maxStalenessMs`. `eventual`: ClickHouse alone. Default: every acknowledged row, or a warning',
    }),
  requireFresh: z.boolean().optional().meta({ description: 'the same as `consistency: strict`' }),
  maxStalenessMs: z.int().nonnegative().optional(),
  minWatermark: tokenSchema
    .optional()
    .meta({ description: 'tokens of earlier answers: the answer includes their rows, else 409' }),
  min_watermark: tokenSchema.optional().meta({ description: 'the same as `minWatermark`' }),
  maxWaitMs: z.int().nonnegative().optional().meta({ description: 'how long to wait for the required freshness' }),
};

const fields = z.object({ ...freshnessFields, afterWatermark: z.string().optional() });

export type Freshness = {
  consistency: 'default' | 'strict' | 'bounded' | 'eventual';
  maxStaleness_ms: number;
  maxWait_ms: number;
  /** Watermarks that the answer must include, each with the member of the request that has it. */
  required: (Watermark & { member: string })[];
};

/** Throws ApiError `invalid-request`, `limit-exceeded`. */
export function readFreshness(body: z.output<typeof fields>, limits: Limits): Freshness {
  const { requireFresh, maxStalenessMs, maxWaitMs = limits.query_wait_ms } = body;
  const consistency = body.consistency ?? impliedConsistency(body);
  if (requireFresh && consistency !== 'strict') {
    throw invalidRequest(`requireFresh: true means consistency strict, but consistency is ${consistency}`);
  }
  if (maxStalenessMs !== undefined && consistency !== 'bounded') {
    throw invalidRequest(`maxStalenessMs: applies to consistency bounded only, but consistency is ${consistency}`);
  }
  if (consistency === 'bounded' && maxStalenessMs === undefined) {
    throw invalidRequest('maxStalenessMs: required with consistency bounded');
  }
  if (maxWaitMs > limits.query_wait_ms_max) {
    throw limitExceeded(`maxWaitMs: a query waits at most ${limits.query_wait_ms_max} ms (limit query_wait_ms_max)`);
  }
  const { minWatermark = [], min_watermark = [], afterWatermark = [] } = body;
  // Rows after a token are known only where the rows up to it are.
  const members = Object.entries({ minWatermark, min_watermark, afterWatermark });
  const required = members.flatMap(([member, tokens]) =>
    [tokens].flat().map((token) => ({ ...requireToken(member, token), member })),
  );
  return { consistency, maxStaleness_ms: maxStalenessMs ?? 0, maxWait_ms: maxWaitMs, required };
}

function impliedConsistency({ requireFresh, maxStalenessMs }: z.output<typeof fields>): Freshness['consistency'] {
  if (requireFresh) return 'strict';
  return maxStalenessMs === undefined ? 'default' : 'bounded';
}
