import * as z from 'zod';
import { jobStates } from '../../jobs/job.ts';
import { checkRows } from '../../stores/check-rows.ts';
import { epochMs } from '../../stores/postgres/client.ts';
import { fromJsonb } from '../../stores/postgres/jsonb.ts';
import type { MonitoringDeps } from '../deps.ts';
import { type MessageRequest, messageRequest } from './message-job.ts';
import { type Attempt, attempt } from './post.ts';

/** A message to a channel and its tries. */
export type Delivery = Omit<MessageRequest, 'bodies'> & {
  n: string;
  id: string;
  state: (typeof jobStates)[number] | 'uncertain';
  error: string | null;
  tries: number;
  attempts: Attempt[];
  createdAt_ms: number;
  finishedAt_ms: number | null;
};

const logSchema = z.object({
  delivered: z.union([z.literal(true), z.literal('uncertain')]).optional(),
  total: z.number().default(0),
  attempts: z.array(attempt).default([]),
});

const deliveryRow = z.object({
  n: z.string(),
  id: z.string(),
  state: z.enum(jobStates),
  request: z.unknown(),
  log: z.unknown(),
  error: z.string().nullable(),
  createdAt_ms: z.number(),
  finishedAt_ms: z.number().nullable(),
});

const withoutBodies = messageRequest.omit({ bodies: true });

/** Deliveries of a dataset, newest first, without their bodies. Throws StoreError. */
export async function listDeliveries(
  ctx: MonitoringDeps,
  dataset: string,
  { channel, before, limit }: { channel?: string | undefined; before?: number | undefined; limit: number },
): Promise<Delivery[]> {
  const rows = await ctx.postgres.rows(
    `select n, id, state, request - 'bodies' as request, coalesce(result, progress) as log, error,
            ${epochMs('created_at')} as "createdAt_ms", ${epochMs('finished_at')} as "finishedAt_ms"
       from jobs
      where buffer = $buffer and dataset = $dataset and kind = 'alert' and ($before::bigint is null or n < $before)
        and ($channel::text is null or request->>'channel' = $channel)
        and dataset_life is not distinct from life_of_dataset(dataset)
      order by n desc limit $limit`,
    { buffer: ctx.config.TIMESTORE_KEY_PREFIX, dataset, channel: channel ?? null, before: before ?? null, limit },
  );
  return checkRows(deliveryRow, rows).map(({ request, log, state, ...rest }) => {
    const { delivered, total, attempts } = logSchema.parse(fromJsonb(log));
    const known = withoutBodies.parse(fromJsonb(request));
    return { ...rest, ...known, state: delivered === 'uncertain' ? 'uncertain' : state, tries: total, attempts };
  });
}
