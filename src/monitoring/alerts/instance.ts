import * as z from 'zod';
import type { Instance } from './state-machine.ts';

/** What a channel was notified of, in one episode. */
const told = z.object({
  episode: z.number(),
  /** Number of the last repetition. */
  repeat: z.number(),
});

export type Told = z.output<typeof told>;

const machine: z.ZodType<Instance> = z.object({
  state: z.enum(['normal', 'pending', 'firing', 'recovering']),
  reason: z.enum(['breach', 'nodata', 'error']),
  since_ms: z.number(),
  startsAt_ms: z.number(),
  firedAt_ms: z.number().nullable(),
  episode: z.number(),
  held_ms: z.number(),
  bad_ms: z.number(),
  lastInput: z.enum(['breach', 'ok', 'no-data', 'between']),
  successAt_ms: z.number().nullable(),
  successes: z.number(),
  flaps: z.number(),
  value: z.number().nullable(),
  firedValue: z.number().nullable(),
  ackedBy: z.string().nullable(),
  revision: z.number(),
});

/** A stored alert instance: the state machine's state, what it is of, and who was notified of it. */
export const alertInstance = z.object({
  ruleId: z.string(),
  fingerprint: z.string(),
  serviceId: z.string(),
  /** The labels that name the instance. */
  labels: z.record(z.string(), z.string()),
  machine,
  /** By channel. */
  told: z.record(z.string(), told),
});

export type AlertInstance = z.output<typeof alertInstance>;

export function instanceKey({ ruleId, fingerprint }: Pick<AlertInstance, 'ruleId' | 'fingerprint'>): string {
  return `${ruleId}/${fingerprint}`;
}
