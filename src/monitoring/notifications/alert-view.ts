import * as z from 'zod';
import { severities } from '../resources/rule.ts';

/** What messages, pages and lists say of an alert: one episode of one instance of a rule. */
export const alertView = z.object({
  dataset: z.string(),
  ruleId: z.string(),
  ruleName: z.string(),
  serviceId: z.string(),
  /** Name of the service for people. */
  label: z.string(),
  severity: z.enum(severities),
  status: z.enum(['firing', 'resolved', 'acknowledged']),
  /** `breach`, `nodata`, `error`; at the end also `removed`, `missing`, `rule-changed`. */
  reason: z.string(),
  labels: z.record(z.string(), z.string()),
  annotations: z.record(z.string(), z.string()),
  value: z.number().nullable(),
  threshold: z.number().nullable(),
  condition: z.string(),
  startsAt_ms: z.number(),
  firedAt_ms: z.number(),
  endsAt_ms: z.number().nullable(),
  episode: z.number(),
  fingerprint: z.string(),
  /** How many services wait behind this one. */
  dependents: z.number(),
});

export type AlertView = z.output<typeof alertView>;
