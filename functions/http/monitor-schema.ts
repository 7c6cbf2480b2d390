import * as z from 'zod';
import { statusNames } from '../../src/monitoring/status.ts';

const percent = z.number().nullable();
/** Members of an answer that counts slots. */
export const slotsSchema = {
  availability: percent.meta({ description: 'good slots in percent of the known ones; null: none is known' }),
  coverage: percent.meta({ description: 'known slots in percent of all outside of maintenance; null: none has ended' }),
  good: z.int(),
  bad: z.int(),
  slots: z.int().meta({ description: 'slots of the interval of the service, without those in maintenance' }),
  maintenance: z.int().meta({ description: 'slots in maintenance' }),
};

export const statusSchema = z.object({
  serviceId: z.string(),
  label: z.string(),
  serviceType: z.string(),
  stack: z.string(),
  enabled: z.boolean(),
  statusCode: z.int().meta({ description: 'of the newest row; 5 without rows' }),
  status: z.enum(statusNames),
  effectiveStatusCode: z.int().meta({ description: 'the last known status, 5 once it is older than three intervals' }),
  message: z.string().nullable(),
  lastSeenAt: z.string().nullable(),
  responseTimeMs: z.number().nullable(),
});

const burnWindow = z.object({
  window: z.string(),
  rate: z.number().nullable().meta({ description: '1: the budget lasts for exactly the window of the SLO' }),
  bad: z.int(),
});

export const sloSchema = z.object({
  sloId: z.string(),
  serviceId: z.string(),
  target: z.number(),
  window: z.string(),
  availability: percent,
  coverage: percent,
  budget: z.object({
    allowed: z.number().meta({ description: 'bad slots that the target allows' }),
    spent: z.int(),
    left: z.number().nullable().meta({ description: 'share that is left, negative once the target is missed' }),
  }),
  burnRates: z.array(
    z.object({
      severity: z.string(),
      factor: z.number(),
      long: burnWindow,
      short: burnWindow,
      isBurning: z.boolean(),
    }),
  ),
});
